"""Costs as people read them: one format for counts, four digits for what is measured, µs if ms are too small."""

from __future__ import annotations

import math
from collections.abc import Sequence

_SMALLER = {"ms": "µs", "mJ": "µJ"}
"""The units that are a thousand times smaller."""
_SMALL = 0.1
"""A column whose largest value is below this is printed in the smaller unit."""
_COUNTED = ("params", "macs")


def count(value: float) -> str:
    """Return a count: ``137,436``, and ``3.94 M`` or ``1.20 G`` from a million on."""
    for size, letter in ((1e9, "G"), (1e6, "M")):
        if abs(value) >= size:
            return f"{value / size:,.2f} {letter}"
    return f"{value:,.0f}"


def measured(value: float) -> str:
    """Return a number with four significant digits, without an exponent for a large one."""
    return f"{value:,.0f}" if 1e4 <= abs(value) < math.inf else f"{value:.4g}"


def amount(value: float, unit: str) -> str:
    """Return a single cost with its unit: ``18.9 µs``, ``3,779`` of cycles."""
    (head, (text,)) = column(f"_{unit}" if unit else "", [value])
    return f"{text} {head[1:]}".rstrip()


def column(name: str, values: Sequence[float]) -> tuple[str, list[str]]:
    """Return head and cells of a metric's column: its values in one unit, named in the head as in ``latency_µs``.

    ``name`` is `hnas.Metric.column`; a metric without a unit whose values are whole is a count.
    """
    stem, _, unit = name.rpartition("_")
    finite = [abs(value) for value in values if math.isfinite(value)]
    if unit in _SMALLER:
        if 0 < max(finite, default=0) < _SMALL:
            return f"{stem}_{_SMALLER[unit]}", [measured(1000 * value) for value in values]
    elif name in _COUNTED or all(value == int(value) for value in finite):
        return name, [count(value) if math.isfinite(value) else str(value) for value in values]
    return name, [measured(value) for value in values]
