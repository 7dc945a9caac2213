"""How an architecture is printed: options gathered by the block that their names number."""

from __future__ import annotations

import attrs

import hnas
from hnas.cost import MACS, PARAMS, Cost, Metric
from hnas_app.report.networks import describe, race_table, race_won, table
from hnas_app.runs.results import NetworkResult, Results
from hnas_app.training.accuracy import Accuracy
from hnas_app.training.race import DIVERGED, Race

SURE = Accuracy(mean=0.5, half_width=0.1, tasks=10)


def test_a_layer_has_one_group():
    options = {"depth": 2, "kernel1": 3, "scale1": 0.5, "kernel12": 5, "scale12": 1.0}
    assert describe(options) == "depth 2; 1: kernel 3, scale 0.5; 12: kernel 5, scale 1.0"


def test_a_block_of_several_layers_has_one_group():
    """`kernel2_3` was shown as `3: kernel2_ 1`, among the third layers of other blocks."""
    options = {"kernel1_1": 3, "scale1_1": 2.0, "kernel1_2": 5, "kernel2_1": 1, "scale2_1": 0.5, "kernel2_2": 3}
    assert describe(options) == "1: kernel 3/5, scale 2.0/-; 2: kernel 1/3, scale 0.5/-"


def test_every_option_of_the_residual_space_is_printed_in_its_block():
    space = hnas.Registry().create("space", "resnet12")
    blocks = describe(space.options(space.largest())).split("; ")
    assert [block.partition(":")[0] for block in blocks] == ["1", "2", "3", "4"]
    assert {block.count("/") for block in blocks} == {6}
    assert not any("_" in block for block in blocks)


def test_nothing_is_lost_whatever_the_names():
    options = {"7": 1, "a_1": 2, "op3": 3, "op3_1": 4, "edge0_1_op": 5, "x1_2_3": 6, "plain": 7}
    assert describe(options) == "7 1; a_1 2; edge0_1_op 5; x1_2_3 6; plain 7; 3: op 3, op 4"


def test_a_race_is_told_heat_by_heat():
    """The row `found` may be another network than the one that is called so in the race, so that is not named so."""
    race = Race(networks={name: hnas.Architecture("tiny", (i,)) for i, name in enumerate(("found", "finalist-2"))})
    race = race.after(100, {"found": 0.5, "finalist-2": 0.625})
    rows = [["finalist-2", "62.5"], ["the search's choice", "50.0"]]
    assert race_table(race) == (["race", "after 100"], rows)
    assert race_won(race).endswith("; finalist-2 won")
    late = race.after(1200, {"finalist-2": DIVERGED})
    rows = [["finalist-2", "62.5", "diverged"], ["the search's choice", "50.0", ""]]
    assert race_table(late) == (["race", "after 100", "after 1,200"], rows)
    assert race_won(late).endswith("; the search's choice won")


def test_an_unsteady_cost_is_marked():
    network = NetworkResult(
        name="found", arch=hnas.Architecture("tiny", (0,)), options={}, cost=Cost(values={"latency": 0.0189}),
        zero_retrain=SURE, retrained=SURE,
    )  # fmt: skip
    results = Results(
        networks=(network, attrs.evolve(network, name="scaled")), baseline=SURE,
        metrics=(Metric(name="latency", unit="ms"),), limits=(), protocol="", unsteady=("found",),
    )  # fmt: skip
    head, rows = table(results)
    assert head[:2] == ["network", "latency_µs"]
    assert [row[1] for row in rows] == ["~18.9", "18.9", ""]


def test_what_a_prediction_takes_stands_in_the_table_if_it_is_not_one_pass() -> None:
    accuracy, cost = Accuracy(mean=0.5, half_width=0.01, tasks=600), hnas.Cost(values={"params": 7.0, "macs": 9.0})
    first, second = (
        NetworkResult(
            name=name,
            arch=hnas.Architecture("tiny", ()),
            options={},
            cost=cost,
            zero_retrain=accuracy,
            retrained=accuracy,
        )
        for name in ("found", "scaled")
    )
    results = Results(
        networks=(first, second), baseline=accuracy, metrics=(PARAMS, MACS), limits=(), protocol="a test of the table"
    )
    multi = attrs.evolve(first, inference=hnas.Inference(passes=6, stored=20_480))
    head, rows = table(attrs.evolve(results, networks=(multi, second)))
    assert head[-2:] == ["inference", "stored_B"]
    assert rows[0][-2:] == ["multi pass (6)", "20,480"]
    assert rows[1][-2:] == ["single pass", "0"]
    assert rows[-1][-2:] == ["", ""]
    assert "inference" not in table(results)[0]
