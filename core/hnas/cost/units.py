"""The units that limits accept, by kind, each as a multiple of the kind's smallest one: whole numbers, so exact."""

from __future__ import annotations

TIME = {"ns": 1, "us": 10**3, "ms": 10**6, "s": 10**9}
ENERGY = {"nJ": 1, "uJ": 10**3, "mJ": 10**6, "J": 10**9}
SIZE = {"B": 1, "KB": 10**3, "MB": 10**6, "KiB": 2**10, "MiB": 2**20}
COUNT = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9}
UNITS = {**TIME, **ENERGY, **SIZE, **COUNT}
_NAMED = {u.casefold(): u for u in (*TIME, *ENERGY, *SIZE)}


def micro(unit: str) -> str:
    """Return a unit with ``u`` for micro; Unicode has two signs for it."""
    return unit.replace("\u00b5", "u").replace("\u03bc", "u")


def meant(unit: str) -> str | None:
    """Return the known unit that differs from an unknown one only in case or in the sign for micro, if any."""
    known = _NAMED.get(micro(unit).casefold())
    return None if known == unit else known
