"""Metrics that cannot be meant as they are written are refused there, and measurements hold plain numbers."""

from __future__ import annotations

import attrs
import numpy as np
import pytest

from hnas import Measurement, Metric, PluginError


@pytest.mark.parametrize(
    ("combine", "told"), [("mx", "Did you mean 'max'?"), ("Sum", "Did you mean 'sum'?"), ("mean", "'sum' or 'max'.")]
)
def test_another_way_to_combine_is_refused(combine, told):
    """A run trains for hours, and dies with a KeyError when it first prices a network."""
    with pytest.raises(PluginError, match="expected 'sum' or 'max'") as error:
        Metric(name="memory", unit="KiB", combine=combine)
    assert f"combine='{combine}'" in str(error.value)
    assert str(error.value).endswith(told)
    assert error.value.hint


@pytest.mark.parametrize(
    ("unit", "known"), [("kib", "KiB"), ("kB", "KB"), ("b", "B"), ("MS", "ms"), ("µs", "us"), ("mj", "mJ")]
)
def test_a_known_unit_written_otherwise_is_refused(unit, known):
    """It would be a unit of its own, on which no limit in KiB can be set."""
    with pytest.raises(PluginError, match=f"Did you mean '{known}'?"):
        Metric(name="memory", unit=unit)
    with pytest.raises(PluginError):
        attrs.evolve(Metric(name="memory", unit=known), unit=unit)


@pytest.mark.parametrize("unit", ["", "KiB", "ms", "mJ", "K", "k", "m", "mm2", "mW", "GiB", "%", "fortnights"])
def test_known_units_and_those_of_other_dimensions_are_taken(unit):
    assert Metric(name="area", unit=unit).unit == unit


def test_numbers_of_numpy_become_plain_ones():
    """SQLite keeps a float32 as four bytes, and JSON refuses it."""
    measured = Measurement(median=np.float32(0.5), mad=np.float64(1), samples=tuple(np.ones(2, np.float32)))
    assert [type(x) for x in (measured.median, measured.mad, *measured.samples)] == [float] * 4
    assert type(Measurement.of(np.ones(3, np.float32), "ms").median) is float
