"""Rows: what is read of a line, what is refused, and how a wrong result is found."""

from __future__ import annotations

import json

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hnas import DeviceError, Layer
from hnas_backends.layerbench.lines import Checksums, Hello, Row
from hnas_backends.layerbench.oracle import expected, verify

LAYER = Layer(op="conv2d", in_shape=(2, 5, 5), out_shape=(3, 5, 5), kernel=3, padding=1, bias=True)
GOOD = {
    "id": "r0", "out": [3, 5, 5], "sum": 1.5, "abs": 20.25, "mix": -0.5, "first": 0.125, "last": -1, "inner": 4,
    "nivcsw": 1, "majflt": 0, "cpu": 3, "khz": 1500000, "temp_mc": 48312, "throttled": 327680, "ns": [8000000, 4000000],
}  # fmt: skip


def right_row() -> Row:
    return attrs.evolve(Row.parse(json.dumps(GOOD)), checksums=expected((LAYER,)))


def test_a_row_is_read_with_its_units():
    """ns of the inner loop become ms of one run; a slip here is a factor in every table."""
    row = Row.parse(json.dumps(GOOD))
    assert row.samples_ms == (2.0, 1.0)
    assert row.checksums == Checksums(sum=1.5, abs=20.25, mix=-0.5, first=0.125, last=-1.0)
    assert (row.khz, row.temp_c, row.throttled, row.cpu) == (1500000, 48.312, 0x50000, 3)
    unreadable = Row.parse(json.dumps(GOOD | {"khz": None, "temp_mc": None, "throttled": None, "cpu": None}))
    assert (unreadable.khz, unreadable.temp_c, unreadable.throttled, unreadable.cpu) == (None,) * 4


@pytest.mark.parametrize(
    "change",
    [
        {"ns": []}, {"ns": [0]}, {"ns": [-5]}, {"ns": ["1"]}, {"ns": [1.5]}, {"ns": [True]}, {"ns": 7},
        {"inner": 0}, {"inner": None}, {"out": [1, 2]}, {"out": [0, 1, 1]}, {"sum": "nan"}, {"sum": float("nan")},
        {"abs": float("inf")}, {"first": None}, {"khz": -1}, {"temp_mc": "hot"},
    ],
)  # fmt: skip
def test_a_row_with_a_wrong_field_is_refused(change):
    """Rows come from other machines: none may put a zero, a NaN or a string into a table."""
    with pytest.raises(DeviceError, match="no answer"):
        Row.parse(json.dumps(GOOD | change))


@pytest.mark.parametrize("missing", GOOD)
def test_a_row_that_lacks_a_field_is_refused(missing):
    with pytest.raises(DeviceError, match="no answer"):
        Row.parse(json.dumps({k: v for k, v in GOOD.items() if k != missing}))


@given(st.one_of(st.text(), st.from_regex(r'\{"id":.*\}'), st.just("[" * 100_000), st.just("12"), st.just("null")))
def test_garbage_is_a_device_error_and_nothing_else(line):
    """A login script that greets on standard output must not end in a traceback."""
    with pytest.raises(DeviceError):
        Row.parse(line)
    with pytest.raises(DeviceError):
        Hello.parse(line)


def test_an_error_row_is_raised_with_its_words():
    with pytest.raises(DeviceError, match="refused r7: out of memory"):
        Row.parse('{"id":"r7","error":"out of memory"}')


def test_the_right_row_passes():
    verify(right_row(), [LAYER])


@pytest.mark.parametrize("name", ["sum", "abs", "mix", "first", "last"])
def test_a_tampered_checksum_is_refused_with_both_numbers(name):
    """A device that computes something else is the one lie that a latency cannot show."""
    row = right_row()
    size = row.checksums.abs if name in ("sum", "abs", "mix") else row.checksums.abs / 75
    wrong = getattr(row.checksums, name) + 3e-4 * size
    lie = attrs.evolve(row, checksums=attrs.evolve(row.checksums, **{name: wrong}))
    with pytest.raises(DeviceError, match=name) as caught:
        verify(lie, [LAYER])
    assert f"{wrong:.9g}" in str(caught.value)
    assert f"{getattr(expected((LAYER,)), name):.9g}" in str(caught.value)
    assert caught.value.exit_code == 6


def test_a_permuted_result_is_refused():
    """Sums alone do not see two pixels that changed places."""
    row = right_row()
    with pytest.raises(DeviceError, match="mix"):
        verify(attrs.evolve(row, checksums=attrs.evolve(row.checksums, mix=row.checksums.mix + 0.1)), [LAYER])


def test_an_output_of_another_shape_is_refused():
    with pytest.raises(DeviceError, match="should be"):
        verify(attrs.evolve(right_row(), out_shape=(3, 5, 4)), [LAYER])
