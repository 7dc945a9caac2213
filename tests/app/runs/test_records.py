"""The artefacts of a run as JSON: exact both ways, infinite losses too, and refused when damaged."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from typing import Any

import attrs
import pytest

from hnas import Architecture, Cost, Scored
from hnas.cost import MACS, PARAMS, Metric
from hnas.errors import DataError
from hnas.toolkit.codec import from_json, to_json
from hnas_app.runs.results import NetworkResult, Results
from hnas_app.search.adapt import Adaption
from hnas_app.search.place import Place
from hnas_app.sweeps.record import Found, SweepPair, SweepRecord
from hnas_app.training.accuracy import Accuracy

ARCH = Architecture("vgg9", (3, 1, 2, 0))
COST = Cost(values={"latency": 0.1 + 0.2, "params": 70085.0})


def scored(loss: float) -> Scored:
    return Scored(arch=ARCH, loss=loss, accuracy=1 / 3, cost=COST, bound=loss > 5)


def results() -> Results:
    network = NetworkResult(
        name="found",
        arch=ARCH,
        options={"depth": 4, "scale1": 0.75, "activation1": "relu"},
        cost=COST,
        zero_retrain=Accuracy(mean=0.5, half_width=0.01, tasks=600),
        retrained=Accuracy(mean=0.9, half_width=0.01, tasks=600),
    )
    return Results(
        networks=(network, attrs.evolve(network, name="maml++")),
        baseline=Accuracy(mean=0.4, half_width=0.02, tasks=600),
        metrics=(Metric(name="latency", unit="ms", combine="max"), PARAMS, MACS),
        limits=("latency<=0.05ms",),
        protocol="glyphs, 5-way 1-shot",
    )


def through_json(value: Any) -> Any:
    """As a file holds it: strict JSON, which has no infinity."""
    return from_json(json.loads(json.dumps(to_json(value), allow_nan=False)), type(value), "adapt.json")


@pytest.mark.parametrize("value", [Adaption(population=(scored(1.5),), finalists=(scored(0.1 + 0.2),)), results()])
def test_what_is_written_is_read_back(value: Any) -> None:
    """Exactly: a float that changed in the last place would give a resumed run another result."""
    again = through_json(value)
    assert again == value
    assert hash(again.population[0].arch if isinstance(value, Adaption) else again.networks[0].arch) == hash(ARCH)


def test_options_keep_their_types() -> None:
    """A choice's option is a number or a word; 4 must not come back as '4' or 4.0."""
    options = through_json(results()).networks[0].options
    assert options == {"depth": 4, "scale1": 0.75, "activation1": "relu"}
    assert [type(v) for v in options.values()] == [int, float, str]


@pytest.mark.parametrize("loss", [math.inf, -math.inf, math.nan])
def test_losses_that_are_no_numbers(loss: float) -> None:
    """A diverged candidate scores infinity; JSON knows none, and other readers refuse Python's `Infinity`."""
    again = through_json(Adaption(population=(scored(loss),), finalists=())).population[0].loss
    assert again == loss or (math.isnan(again) and math.isnan(loss))


def without(*path: Any) -> Callable[[Any], None]:
    def damage(value: Any) -> None:
        for key in path[:-1]:
            value = value[key]
        del value[path[-1]]

    return damage


def put(new: Any, *path: Any) -> Callable[[Any], None]:
    def damage(value: Any) -> None:
        for key in path[:-1]:
            value = value[key]
        value[path[-1]] = new

    return damage


@pytest.mark.parametrize(
    "damage",
    [
        without("finalists"),
        without("population", 0, "loss"),
        put("low", "population", 0, "loss"),
        put(None, "population", 0, "accuracy"),
        put({}, "population", 0, "arch"),
        put("vgg9", "population", 0, "arch"),
        put({"space": "vgg9", "genes": ["a"]}, "population", 0, "arch"),
        put(3, "population"),
        put([None], "finalists"),
        put("no", "population", 0, "cost", "values", "latency"),
    ],
)
def test_a_damaged_record_is_an_error_that_names_the_file(damage: Callable[[Any], None]) -> None:
    value = json.loads(json.dumps(to_json(Adaption(population=(scored(1.0),), finalists=(scored(1.0),)))))
    damage(value)
    with pytest.raises(DataError, match=r"^runs/1/adapt.json is damaged or was edited: \S") as caught:
        from_json(value, Adaption, "runs/1/adapt.json")
    assert "\n" not in str(caught.value)
    assert "move the file away" in (caught.value.hint or "")


@pytest.mark.parametrize("value", [None, [], "text", 3])
def test_something_else_altogether(value: Any) -> None:
    with pytest.raises(DataError, match=r"adapt.json is damaged"):
        from_json(value, Adaption, "adapt.json")


def test_what_an_earlier_version_wrote_is_read() -> None:
    """It called a finalist's place its rank."""
    place = Place(low=1, high=5, of=10, tasks=100)
    found = Adaption(population=(scored(1.5),), finalists=(scored(0.5),), place=place)
    value = json.loads(json.dumps(to_json(found)))
    assert value["place"] == {"low": 1, "high": 5, "of": 10, "tasks": 100}
    assert (
        from_json({**{k: v for k, v in value.items() if k != "place"}, "rank": value["place"]}, Adaption, "") == found
    )
    assert from_json({k: v for k, v in value.items() if k != "place"}, Adaption, "") == attrs.evolve(found, place=None)
    pair = Found(arch=ARCH, options={}, loss=1.5, accuracy=0.5, cost={"params": 3.0}, place=place, evaluations=4)
    sweep = SweepRecord(
        supernet="runs/1", pairs=(SweepPair(name="01", backend="eyeriss", constraints=(), found=pair),), evaluations=4
    )
    text = json.dumps(to_json(sweep))
    assert text.count('"place"') == 1
    assert from_json(json.loads(text.replace('"place"', '"rank"')), SweepRecord, "sweep.json") == sweep


def test_another_schema_is_refused() -> None:
    """A newer hnas may mean something else by the same names."""
    value = to_json(Adaption(population=(), finalists=()))
    with pytest.raises(DataError, match=r"^adapt.json has schema 3; this hnas reads 2"):
        from_json({**value, "schema": 3}, Adaption, "adapt.json")
