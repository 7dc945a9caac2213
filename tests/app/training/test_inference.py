"""Costs count what a prediction takes: several passes, and what is kept of the task."""

from __future__ import annotations

from typing import Any

import attrs
import pytest
from tiny_tasks import tiny_setup

from hnas import Cost, InfeasibleError, Inference, Metric, PluginError, Registry
from hnas.cost import MACS, PARAMS
from hnas_app.config.load import load_config
from hnas_app.search.limits import check_counted, within_limits
from hnas_app.training.setup.inference import of_prediction

LATENCY, MEMORY, SLOWEST = (
    Metric(name="latency", unit="ms"),
    Metric(name="memory", unit="KiB", combine="max"),
    Metric(name="slowest", unit="ms", combine="max"),
)
METRICS = (LATENCY, MEMORY, SLOWEST, PARAMS, MACS)


def setup(keep: str) -> Any:
    """Return a set-up of 3-way 1-shot tasks: with ``images``, each prediction takes four passes."""
    learner = Registry().create("learner", "prototypical", {"keep": keep})
    return attrs.evolve(tiny_setup(), learner=learner)


def one_pass(layers: Any) -> Cost:
    return Cost(values={"latency": 2.0, "memory": 10.0, "slowest": 1.0, "params": 70.0, "macs": 500.0})


def test_work_is_multiplied_and_sizes_grow() -> None:
    found = of_prediction(one_pass(()), METRICS, Inference(passes=4, stored=512))
    assert found.values == {"latency": 8, "memory": 10.5, "slowest": 1, "params": 70, "macs": 2000}


def test_a_single_pass_costs_what_it_did() -> None:
    cost = one_pass(())
    assert of_prediction(cost, METRICS, Inference()) is cost


def test_limits_see_all_passes_and_what_is_stored() -> None:
    """Three class means of the nine numbers that the largest network has are 108 bytes; three images are 768."""
    images, features = setup("images"), setup("features")
    assert features.inference(features.space.largest()) == Inference(stored=4 * 3 * 9)

    def feasible(of: Any, limit: str) -> bool:
        config = load_config(Registry(), env={}, flags={"constraints": [limit]}).config
        try:
            within_limits(of, config, METRICS, lambda arch: of.cost(arch, one_pass, METRICS))
        except InfeasibleError:
            return False
        return True

    assert [feasible(features, f"latency<={n}ms") for n in (1, 2)] == [False, True]
    assert [feasible(images, f"latency<={n}ms") for n in (7, 8)] == [False, True]
    assert [feasible(features, f"memory<={n}KiB") for n in (10, 10.1)] == [False, True]
    assert [feasible(images, f"memory<={n}KiB") for n in (10.1, 11)] == [False, True]


def test_counted_limits_are_checked_before_the_device() -> None:
    config = load_config(Registry(), env={}, flags={"constraints": ["macs<=30"]}).config
    check_counted(setup("features"), config)
    with pytest.raises(InfeasibleError, match="smallest macs"):
        check_counted(setup("images"), config)


class Wrong(type(setup("features").learner)):  # type: ignore[misc]
    def inference(self, *given: Any) -> Any:
        return self.says


@pytest.mark.parametrize(
    "says", [Inference(passes=0.5), Inference(passes=float("nan")), Inference(stored=-1), Inference(stored=0.5), (1, 2)]
)
def test_what_makes_no_sense_is_refused_by_name(says: Any) -> None:
    wrong = setup("features")
    wrong.learner.__class__ = Wrong
    wrong.learner.says = says
    with pytest.raises(PluginError, match=r"inference\(\) of .*Wrong|Wrong.*inference"):
        wrong.inference(wrong.space.largest())
