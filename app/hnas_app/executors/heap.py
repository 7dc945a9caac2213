"""Memory that was freed, given back to the system before it piles up.

Between the blocks that networks of many sizes leave free, small values that live on hold the heap apart. So a block of
the next size finds no room and the heap grows, for hours, though nearly all of it is free.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable
from functools import cache
from pathlib import Path

GROWTH_BYTES = 64 << 20
"""A process may grow by so much over what its work needs: what it gives back it must soon take again, page by page."""

_STATM = Path("/proc/self/statm")
_needed: int | None = None
"""Resident bytes after the first piece of work that followed the last time."""


def settle_heap() -> None:
    """Give free memory back if this process grew much since the last time. Does nothing except under Linux and glibc.

    Called after each piece of work.
    """
    global _needed
    trim = _trim()
    if trim is None:
        return
    if _needed is None:
        _needed = _resident()
    elif _resident() > _needed + GROWTH_BYTES:
        trim(0)
        _needed = None


@cache
def _trim() -> Callable[[int], int] | None:
    found: Callable[[int], int] | None = getattr(ctypes.CDLL(None), "malloc_trim", None) if _STATM.exists() else None
    return found


def _resident() -> int:
    return int(_STATM.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
