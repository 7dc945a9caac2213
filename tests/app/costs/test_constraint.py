"""What a user may write as a constraint, and what an error says of the rest."""

from __future__ import annotations

import math
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hnas.cost import MACS, PARAMS, Cost, Metric
from hnas.cost.units import ENERGY, SIZE, TIME
from hnas.errors import ConfigError
from hnas_app.costs.limits import Constraint, Limit, default_constraint, resolve

LATENCY = Metric(name="latency", unit="ms")
METRICS = (
    LATENCY,
    Metric(name="cycles"),
    Metric(name="energy", unit="uJ"),
    Metric(name="memory", unit="KiB", combine="max"),
    Metric(name="area", unit="mm2"),
    PARAMS,
    MACS,
)
REFERENCE = Cost(values={"latency": 0.25, "cycles": 50_000.0, "params": 70_085.0})


def value(text: str) -> float:
    (limit,) = resolve([Constraint.parse(text)], METRICS, REFERENCE)
    return limit.value


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("latency<=3ms", 3.0),
        ("latency<=50us", 0.05),
        ("latency<=50µs", 0.05),
        ("latency <= 1.5 s", 1500.0),
        ("latency<=250000ns", 0.25),
        ("params<=70K", 70_000.0),
        ("params<=70.085K", 70_085.0),
        ("params<=70085", 70_085.0),
        ("macs<=25M", 25e6),
        ("macs<=1e3M", 1e9),
        ("macs<=0.5G", 5e8),
        ("cycles<=8000", 8000.0),
        ("energy<=2mJ", 2000.0),
        ("energy<=1J", 1e6),
        ("memory<=64KiB", 64.0),
        ("memory<=1MiB", 1024.0),
        ("memory<=2048B", 2.0),
        ("memory<=1.024KB", 1.0),
        ("latency<=0.6ref", 0.15),
        ("params<=1ref", 70_085.0),
        ("cycles<=0.5 ref", 25_000.0),
    ],
)
def test_a_limit_is_converted_to_the_unit_of_its_metric(text: str, expected: float) -> None:
    assert value(text) == expected


@given(st.sampled_from([TIME, ENERGY, SIZE]), st.data(), st.decimals("0.001", 999, places=3))
def test_conversion_between_any_two_units_is_exact(table: dict[str, int], data: st.DataObject, n: object) -> None:
    """A limit that lands a rounding error below a cost would refuse the network that it was written for."""
    written, own = data.draw(st.sampled_from(list(table))), data.draw(st.sampled_from(list(table)))
    limit = resolve([Constraint.parse(f"x<={n}{written}")], [Metric(name="x", unit=own)], None)[0]
    assert limit.value == float(Fraction(str(n)) * table[written] / table[own])


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        ("latency<3ms", "'<' is not possible; a limit is inclusive", "latency<=3ms"),
        ("latency>=3ms", "'>=' is not possible; a constraint is an upper limit", "latency<=3ms"),
        ("latency=3ms", "'=' is not possible", "latency<=3ms"),
        ("latency≤3ms", "'≤' is not possible; a limit is inclusive", "latency<=3ms"),
        ("3ms", "cannot be read", "latency<=3ms"),
        ("latency<=", "'' is not a number", "latency<=3ms"),
        ("latency<=fast", "'fast' is not a number", "latency<=3ms"),
        ("latency<=-3ms", "'-3ms' is not a number", "latency<=3ms"),
        ("latency<=nan", "'nan' is not a number", "latency<=3ms"),
        ("latency<=3,5ms", "'3,5ms' is not a number", "latency<=3ms"),
        ("latency<=0ms", "more than zero", "latency<=3ms"),
        ("macs<=1e999999999", "is not a number", "latency<=3ms"),
    ],
)
def test_text_that_is_no_upper_limit_is_explained(text: str, message: str, hint: str) -> None:
    with pytest.raises(ConfigError) as error:
        Constraint.parse(text)
    assert message in str(error.value)
    assert text in str(error.value)
    assert hint in (error.value.hint or "")
    assert error.value.exit_code == 3


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("latncy<=3ms", ["unknown metric 'latncy'", "Did you mean 'latency'", "params, macs"]),
        ("latency<=3mJ", ["unit 'mJ' is not possible for latency", "'ns', 'us', 'ms', 's'", "'ref'"]),
        ("latency<=3", ["the unit is missing for latency", "'ms'"]),
        ("params<=70k", ["unit 'k'", "Did you mean 'K'?", "a plain number, 'K', 'M', 'G'"]),
        ("memory<=64kib", ["Did you mean 'KiB'?"]),
        ("area<=3cm2", ["unit 'cm2' is not possible for area", "Possible: 'mm2'"]),
        ("energy<=1ref", ["no cost in energy"]),
    ],
)
def test_a_constraint_that_does_not_fit_the_metrics_says_what_is_possible(text: str, parts: list[str]) -> None:
    with pytest.raises(ConfigError) as error:
        value(text)
    for part in parts:
        assert part in str(error.value)


def test_all_mistakes_are_shown_at_once() -> None:
    texts = ["latncy<=3ms", "params<=70K", "macs<=3ms"]
    with pytest.raises(ConfigError, match=r"(?s)latncy.*macs<=3ms") as error:
        resolve([Constraint.parse(t) for t in texts], METRICS, REFERENCE)
    assert "params<=70K" not in str(error.value)


def test_a_multiple_of_the_reference_needs_a_reference() -> None:
    with pytest.raises(ConfigError, match="names no reference network") as error:
        resolve([Constraint.parse("latency<=0.6ref")], METRICS, None)
    assert "'ms'" in (error.value.hint or "")


def test_a_unit_that_only_a_backend_knows_stands_for_itself() -> None:
    metric = Metric(name="power", unit="W")
    assert resolve([Constraint.parse("power<=3W")], [metric], None)[0].value == 3.0
    with pytest.raises(ConfigError, match="Possible: 'W'"):
        resolve([Constraint.parse("power<=3mW")], [metric], None)


def test_the_default_is_a_share_of_the_reference_in_the_first_metric() -> None:
    assert value(default_constraint(METRICS)) == 0.6 * 0.25


def test_a_limit_is_met_up_to_the_last_bit() -> None:
    """A quotient rounds: without care a cost one bit above a limit would count as satisfying it."""
    limit = Limit(metric=LATENCY, value=0.3, text="latency<=0.3ms")
    for seen in (math.nextafter(0.3, 0), 0.3):
        assert limit.ratio(Cost(values={"latency": seen})) <= 1
    for seen in (math.nextafter(0.3, 1), math.inf, math.nan):
        assert limit.ratio(Cost(values={"latency": seen})) > 1


def test_a_limit_prints_what_a_share_of_the_reference_amounts_to() -> None:
    limits = resolve([Constraint.parse(t) for t in ("latency<=0.6ref", "params<= 70K")], METRICS, REFERENCE)
    assert [str(limit) for limit in limits] == ["latency<=0.6ref (0.15 ms)", "params<=70K"]


def test_a_colon_stands_for_the_sign_that_a_shell_takes_for_a_file() -> None:
    for text, same in (("latency:0.05ms", "latency<=0.05ms"), (" params : 70K ", "params<=70K")):
        assert Constraint.parse(text) == Constraint.parse(same)
    for wrong in ("latency:", "a:b:3ms", ":3ms", "latency:ref"):
        with pytest.raises(ConfigError):
            Constraint.parse(wrong)
