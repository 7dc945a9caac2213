"""One format for numbers: counts with separators, four digits for what is measured, µs if ms are too small."""

from __future__ import annotations

import math

import pytest

from hnas.cost import Cost, Metric
from hnas_app.costs.amounts import amount, column, count, measured
from hnas_app.report.networks import cost_columns, costs_text


def test_counts_are_readable():
    seen = [count(x) for x in (7, 137436, 999_999, 3_940_112, 1.2e9)]
    assert seen == ["7", "137,436", "999,999", "3.94 M", "1.20 G"]


def test_numbers_have_four_digits():
    seen = [measured(x) for x in (0.0123456, 1.0, 9876.54, 313600.5, 0.0, math.inf)]
    assert seen == ["0.01235", "1", "9877", "313,600", "0", "inf"]


def test_milliseconds_that_are_too_small_are_microseconds():
    """`0.0189` and `0.0003125` ms: a whole column is in one unit, which its head names."""
    assert column("latency_ms", [0.0189, 0.03453]) == ("latency_µs", ["18.9", "34.53"])
    assert column("latency_ms", [0.0189, 2.5]) == ("latency_ms", ["0.0189", "2.5"])
    assert column("energy_mJ", [0.00012]) == ("energy_µJ", ["0.12"])
    assert column("latency_ms", [0.0, 0.0]) == ("latency_ms", ["0", "0"])
    assert column("latency_ms", []) == ("latency_ms", [])


def test_whole_values_without_a_smaller_unit_are_counts():
    assert column("cycles", [3779.0, 6905.0]) == ("cycles", ["3,779", "6,905"])
    assert column("cycles", [3779.5, 6905.0]) == ("cycles", ["3780", "6905"])
    assert column("peak_ram_B", [137436.0]) == ("peak_ram_B", ["137,436"])
    assert column("ticks", [math.inf, math.nan, 2.0]) == ("ticks", ["inf", "nan", "2"])


@pytest.mark.parametrize(
    ("value", "unit", "told"),
    [(0.020715, "ms", "20.71 µs"), (0.15, "ms", "0.15 ms"), (137436, "", "137,436"), (3.94e6, "B", "3.94 M B")],
)
def test_a_single_cost_has_its_unit(value, unit, told):
    assert amount(value, unit) == told


def test_a_network_is_told_with_all_its_costs():
    metrics = (Metric(name="latency", unit="ms"), Metric(name="params"))
    costs = [Cost(values={"latency": 0.0189, "params": 8135}), Cost(values={"latency": 0.02, "params": 3.94e6})]
    assert costs_text(costs[0], metrics) == "latency 18.9 µs, params 8,135"
    assert cost_columns(costs, metrics) == (["latency_µs", "params"], [["18.9", "8,135"], ["20", "3.94 M"]])
