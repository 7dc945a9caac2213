"""The numbers among an event's values, which curves are drawn of."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any


def numbers(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, float]]:
    """Yield names and finite numbers; those of nested values as ``best_cost/latency``."""
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from numbers(value, f"{prefix}{name}/")
        elif isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value):
            yield f"{prefix}{name}", float(value)
