"""Random search: every sample is new, and the best are scored once more on common tasks."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from driving import problem_of, run_scored

from hnas import Architecture, Ask, Cost, Registry, Scored
from hnas_strategies.random_search import RandomSearch, RandomSearchOptions


def run(space: Any, options: RandomSearchOptions, params: float = math.inf) -> tuple[list[Ask], list[list[Scored]]]:
    return run_scored(RandomSearch(options), problem_of(space, params, seed=3), _score)


def _score(iteration: int, arch: Architecture) -> Scored:
    draw = np.random.default_rng([iteration, *arch.genes]).random()
    # A loss that was stopped early is below the true one: taken at its word, it would win.
    stopped = bool(draw > 0.5)
    return Scored(arch=arch, loss=draw - stopped, accuracy=0.5, cost=Cost(values={}), bound=stopped)


def test_the_best_seen_are_scored_again_in_the_last_iteration(tiny_space: Any) -> None:
    asks, told = run(tiny_space, RandomSearchOptions(population=20, iterations=5, finalists=0.2), params=400)
    earlier = [s for scored in told[:-1] for s in scored if not s.bound]
    finalists = [s.arch for s in sorted(earlier, key=lambda s: s.loss)[:4]]
    assert list(asks[-1].architectures[:4]) == finalists
    assert [len(a.architectures) for a in asks] == [20] * 5
    assert [a.keep for a in asks] == [4] * 4 + [None]
    fresh = [a for ask in asks[:-1] for a in ask.architectures] + list(asks[-1].architectures[4:])
    assert len(fresh) == len(set(fresh)) == 96


def test_one_iteration_is_all_fresh_and_scored_in_full(tiny_space: Any) -> None:
    ((ask,), _) = run(tiny_space, RandomSearchOptions(population=7, iterations=1))
    assert (len(set(ask.architectures)), ask.keep) == (7, None)


def test_a_space_that_is_used_up_leaves_the_finalists(make_tiny_space: Any) -> None:
    """Three architectures in all: a search that waits for a new one would hang."""
    space = make_tiny_space(depth=1, widths=(2,), acts=("relu",))
    asks, _ = run(space, RandomSearchOptions(population=2, iterations=4, finalists=0.5))
    assert len({a for ask in asks for a in ask.architectures}) == 3
    assert [len(a.architectures) for a in asks] == [2, 1, 1, 1]


def test_options_out_of_range_are_refused() -> None:
    for wrong in ({"population": 0}, {"iterations": -1}, {"finalists": 1.1}):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            RandomSearchOptions(**wrong)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["genetic", "random"])
def test_both_strategies_are_registered_and_constructed_by_name(name: str) -> None:
    registry = Registry(third_party=False)
    options = registry.options_class("strategy", name)(population=3, iterations=2)
    assert registry.create("strategy", name, options).iterations == 2
    assert registry.create("strategy", name).iterations == 200
