"""Feasible architectures: found where there are any, and told apart from none, against enumeration."""

from __future__ import annotations

import re
from collections import Counter
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hnas import Architecture, Cost, InfeasibleError, Metric
from hnas.cost import MACS, PARAMS
from hnas_app.costs.limits import Constraint, Limit, resolve
from hnas_app.search.feasibility import Feasibility

METRICS = (Metric(name="latency", unit="ms"), PARAMS, MACS)


def limits(*texts: str) -> tuple[Limit, ...]:
    return resolve([Constraint.parse(t) for t in texts], METRICS, None)


def quantiles(space: Any, metric: str, *shares: float) -> list[float]:
    return [float(q) for q in np.quantile([space.cost(a)[metric] for a in space.everything()], shares)]


def test_feasible_is_what_every_limit_says_and_costs_are_asked_once(tiny_space: Any) -> None:
    asked: Counter[Architecture] = Counter()

    def cost(arch: Architecture) -> Cost:
        asked[arch] += 1
        return tiny_space.cost(arch)  # type: ignore[no-any-return]

    (latency,), (params,) = quantiles(tiny_space, "latency", 0.5), quantiles(tiny_space, "params", 0.5)
    both = Feasibility(tiny_space, limits(f"latency<={latency:.4f}ms", f"params<={params:.0f}"), cost)
    everything = tiny_space.everything()
    for _ in range(2):
        for arch in everything:
            seen = tiny_space.cost(arch)
            expected = seen["latency"] <= float(f"{latency:.4f}") and seen["params"] <= float(f"{params:.0f}")
            assert both.feasible(arch) == expected
    assert set(asked.values()) == {1}
    assert 0.05 < np.mean([both.feasible(a) for a in everything]) < 0.5


def test_without_limits_everything_is_feasible(tiny_space: Any) -> None:
    free = Feasibility(tiny_space, (), tiny_space.cost)
    assert all(free.feasible(a) for a in tiny_space.everything()[:100])
    assert free.sample(np.random.default_rng(0)) == tiny_space.sample(np.random.default_rng(0))


@pytest.mark.parametrize("metric", ["latency", "params", "macs"])
@pytest.mark.parametrize("share", [0.5, 0.01, 0.0005])
def test_samples_are_feasible_diverse_and_repeatable(tiny_space: Any, metric: str, share: float) -> None:
    """Down to a limit that three of 6,174 architectures satisfy, where rejection finds nothing and repair has to."""
    (limit,) = quantiles(tiny_space, metric, share)
    unit = "ms" if metric == "latency" else ""
    feasibility = Feasibility(tiny_space, limits(f"{metric}<={limit * 1.0001:.6f}{unit}"), tiny_space.cost)
    feasible = [a for a in tiny_space.everything() if feasibility.feasible(a)]
    drawn = [feasibility.sample(np.random.default_rng(i)) for i in range(60)]
    assert set(drawn) <= set(feasible)
    assert len(set(drawn)) >= min(len(feasible), 30) / 2
    assert drawn == [feasibility.sample(np.random.default_rng(i)) for i in range(60)]


@pytest.mark.parametrize("metric", ["latency", "params", "macs"])
def test_smallest_is_the_minimum_over_all_architectures(tiny_space: Any, metric: str) -> None:
    arch, value = Feasibility(tiny_space, (), tiny_space.cost).smallest(metric)
    assert value == min(tiny_space.cost(a)[metric] for a in tiny_space.everything())
    assert tiny_space.cost(arch)[metric] == value


@settings(max_examples=25, deadline=None)
@given(st.lists(st.floats(0.1, 10), min_size=27, max_size=27), st.lists(st.floats(0, 20), min_size=3, max_size=3))
def test_smallest_of_arbitrary_layer_costs_is_the_sum_of_the_cheapest(
    make_tiny_space: Any, conv: list[float], head: list[float]
) -> None:
    """Any cost for each (layer, kernel, width), any for stopping after a layer: the deepest may be the cheapest."""
    space = make_tiny_space(acts=("relu",))

    def cost(arch: Architecture) -> Cost:
        depth = arch.genes[0] + 1
        layers = (conv[9 * i + 3 * arch.genes[3 * i + 1] + arch.genes[3 * i + 2]] for i in range(depth))
        return Cost(values={"x": sum(layers) + head[depth - 1]})

    _, value = Feasibility(space, (), cost).smallest("x")
    cheapest = [min(conv[9 * i : 9 * i + 9]) for i in range(3)]
    assert value == min(sum(cheapest[: depth + 1]) + head[depth] for depth in range(3))


def test_smallest_leaves_a_minimum_that_no_single_choice_leaves(make_tiny_space: Any) -> None:
    """Cheap only where kernel and width fit each other, as on an array of processing elements."""
    space = make_tiny_space(depth=1, acts=("relu",))

    def cost(arch: Architecture) -> Cost:
        kernel, width = arch.genes[1:3]
        return Cost(values={"x": {(0, 0): 2.0, (2, 2): 3.0, (1, 1): 1.0}.get((kernel, width), 9.0)})

    arch, value = Feasibility(space, (), cost).smallest("x")
    assert (value, space.options(arch)["kernel1"]) == (1.0, 3)


def test_a_reachable_limit_passes_down_to_the_very_minimum(tiny_space: Any) -> None:
    for metric, unit in (("latency", "ms"), ("params", ""), ("macs", "")):
        lowest = min(tiny_space.cost(a)[metric] for a in tiny_space.everything())
        exact = Limit(metric=next(m for m in METRICS if m.name == metric), value=lowest, text=f"{metric}<={unit}")
        feasibility = Feasibility(tiny_space, [exact], tiny_space.cost)
        assert feasibility.feasible(feasibility.ensure_reachable())
        assert tiny_space.cost(feasibility.sample(np.random.default_rng(0)))[metric] == lowest


def follow(hint: str | None) -> tuple[Limit, ...]:
    return limits(*re.findall(r"\w+<=[\d.e-]+[A-Za-z]*", hint or ""))


def test_an_unreachable_limit_names_the_smallest_cost_and_its_architecture(tiny_space: Any) -> None:
    feasibility = Feasibility(tiny_space, limits("params<=50K", "latency<=1us"), tiny_space.cost)
    lowest = min(tiny_space.everything(), key=lambda a: tiny_space.cost(a)["latency"])
    with pytest.raises(InfeasibleError) as error:
        feasibility.ensure_reachable()
    assert error.value.exit_code == 5
    message = str(error.value)
    assert "latency<=1us" in message
    assert "params<=50K" not in message
    assert f"smallest latency that the space can reach is {tiny_space.cost(lowest)['latency']:.6g} ms" in message
    assert re.search(r"depth=\d, kernel1=\d", message)
    with pytest.raises(InfeasibleError):
        feasibility.sample(np.random.default_rng(0))
    # The limit that the hint advises must work; one that was rounded down would be refused again.
    Feasibility(tiny_space, follow(error.value.hint), tiny_space.cost).ensure_reachable()


def test_limits_that_cannot_be_met_together_are_told_from_those_that_cannot_alone(tiny_space: Any) -> None:
    """Deep networks have few parameters in the linear layer here, shallow ones a low latency."""
    costs = [tiny_space.cost(a) for a in tiny_space.everything()]
    latency, params = (min(c[m] for c in costs) for m in ("latency", "params"))
    assert min(c["latency"] for c in costs if c["params"] == params) > latency
    texts = (f"latency<={latency * 1.001:.5f}ms", f"params<={params:.0f}")
    for text in texts:
        Feasibility(tiny_space, limits(text), tiny_space.cost).ensure_reachable()
    with pytest.raises(InfeasibleError) as error:
        Feasibility(tiny_space, limits(*texts), tiny_space.cost).ensure_reachable()
    message = str(error.value)
    assert f"satisfies {texts[0]} and {texts[1]} together" in message
    assert re.search(r"the nearest has latency [\d.]+ ms, params \d+, by depth=\d", message)
    Feasibility(tiny_space, follow(error.value.hint), tiny_space.cost).ensure_reachable()


@settings(max_examples=60, deadline=None)
@given(st.floats(0.8, 3), st.floats(0.8, 3))
def test_joint_limits_are_refused_only_where_enumeration_finds_nothing(tiny_space: Any, a: float, b: float) -> None:
    costs = _costs(tiny_space)
    latency, params = costs.min(axis=0) * (a, b)
    feasibility = Feasibility(tiny_space, limits(f"latency<={latency:.6f}ms", f"params<={params:.6f}"), tiny_space.cost)
    reachable = bool(((costs <= (float(f"{latency:.6f}"), float(f"{params:.6f}"))).all(axis=1)).any())
    if reachable:
        assert feasibility.feasible(feasibility.sample(np.random.default_rng(0)))
    else:
        with pytest.raises(InfeasibleError):
            feasibility.ensure_reachable()


_MEMO: dict[int, Any] = {}


def _costs(space: Any) -> Any:
    if id(space) not in _MEMO:
        _MEMO[id(space)] = np.array([[space.cost(a)[m] for m in ("latency", "params")] for a in space.everything()])
    return _MEMO[id(space)]
