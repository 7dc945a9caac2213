"""The units that limits know, by kind, each with its size in the kind's base unit: s, J, B or one."""

from __future__ import annotations

from fractions import Fraction

TIME = {"ns": Fraction(1, 10**9), "us": Fraction(1, 10**6), "ms": Fraction(1, 1000), "s": Fraction(1)}
ENERGY = {"nJ": Fraction(1, 10**9), "uJ": Fraction(1, 10**6), "mJ": Fraction(1, 1000), "J": Fraction(1)}
SIZE = {k: Fraction(n) for k, n in {"B": 1, "KB": 10**3, "MB": 10**6, "KiB": 2**10, "MiB": 2**20}.items()}
COUNT = {"": Fraction(1), "K": Fraction(10**3), "M": Fraction(10**6), "G": Fraction(10**9)}
_NAMED = {u.casefold(): u for u in (*TIME, *ENERGY, *SIZE)}


def micro(unit: str) -> str:
    """Write a unit with ``u`` for micro, of whose sign there are two."""
    return unit.replace("\u00b5", "u").replace("\u03bc", "u")


def meant(unit: str) -> str | None:
    """Return the known unit that differs from an unknown one in case or in the sign for micro only, if any."""
    known = _NAMED.get(micro(unit).casefold())
    return None if known == unit else known
