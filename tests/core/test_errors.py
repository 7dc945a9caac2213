"""What errors show of a value: as Python writes it, and never more than a line, whatever the value is."""

from __future__ import annotations

from typing import Any

import pytest

from hnas.errors import short


def doubled(levels: int) -> list[Any]:
    """Return a list that holds another twice, and so on: written out, it has 2 to the power of ``levels`` parts."""
    value: list[Any] = []
    for _ in range(levels):
        value = [value, value]
    return value


@pytest.mark.parametrize("value", [None, 1.5, "text", "it's", b"x", [1, "a", None], {"b": [1, 2], "c": ()}, {3}, -7])
def test_short_values_are_written_as_python_does(value: object):
    assert short(value) == repr(value)


@pytest.mark.parametrize(
    "value",
    ["a" * 10**6, [0] * 1000, {i: i for i in range(50)}, 10**4000],
    ids=["text", "list", "dictionary", "number"],
)
def test_of_a_long_value_the_beginning_is_shown(value: object):
    assert short(value) == repr(value)[:80] + "…"


def test_a_value_that_would_take_for_ever_to_write():
    deep: list[Any] = []
    for _ in range(100_000):
        deep = [deep]
    for value in (doubled(40), {"a": doubled(40)}, tuple(doubled(40)), deep):
        assert len(short(value)) <= 81
