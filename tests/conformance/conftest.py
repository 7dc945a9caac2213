"""Runs a conformance class on a broken plugin, and tells which of its tests fail."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from published import site, tiny, trained

__all__ = ["site", "tiny", "trained"]

Failures = Callable[..., dict[str, str]]


@pytest.fixture
def failures() -> Failures:
    """Return a function that runs every test of a class on what ``make`` makes, and returns the failures by name."""

    def run(conformance: type, make: Callable[[], Any], **attributes: Any) -> dict[str, str]:
        cls = type("Test", (conformance,), {"make": lambda self: make(), **attributes})
        failed = {}
        for name in filter(lambda name: name.startswith("test_"), dir(cls)):
            try:
                getattr(cls(), name)()
            except pytest.skip.Exception:
                continue
            except Exception as cause:
                failed[name] = f"{type(cause).__name__}: {cause}"
        return failed

    return run


@pytest.fixture
def expect_only() -> Callable[[dict[str, str], str], None]:
    """Return a check that one test has failed and no other, and that its message tells what to do."""

    def check(failed: dict[str, str], test: str) -> None:
        assert set(failed) == {test}, failed
        assert failed[test].startswith("AssertionError: expected ")
        assert "\nseen: " in failed[test]
        assert "\nwhat to do: " in failed[test]

    return check
