"""Giving a device back."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from hnas.backend import HardwareBackend
from hnas.discovery.loading import FAULTS, cause_text


@contextmanager
def given_back(backend: HardwareBackend, tell: Callable[[str], None]) -> Iterator[HardwareBackend]:
    """Close a backend at the end. If that fails, ``tell`` gets a sentence: what was measured is not lost by it."""
    try:
        yield backend
    finally:
        try:
            backend.close()
        except FAULTS as cause:
            tell(f"the backend {type(backend).__name__} failed in close(): {cause_text(cause)}")
