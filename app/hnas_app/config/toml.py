"""TOML of others: parsed, or refused with a sentence."""

from __future__ import annotations

import tomllib
from typing import Any


def parse_toml(text: str) -> dict[str, Any]:
    """Parse TOML. Raises `ValueError` if it is none, or nested too deep."""
    try:
        tree = tomllib.loads(text)
        repr(tree)  # a hexadecimal integer may have more digits than Python writes, which is a `ValueError`
        return tree
    except RecursionError:
        raise ValueError("values are nested too deep") from None
