"""Algorithm 1: elites stay and are mutated, the pool is feasible and without doubles, and it beats chance."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from attrs import evolve
from driving import Loss, interaction, noise, problem_of, run

from hnas import Architecture, Cost, Scored
from hnas_strategies.genetic import Genetic, GeneticOptions
from hnas_strategies.random_search import RandomSearch, RandomSearchOptions


def objective(space: Any) -> Loss:
    """Deeper is better."""
    mean = interaction(space)
    return lambda iteration, arch: 3 + mean(arch) - arch.genes[0]


def test_elites_stay_and_the_rest_are_their_mutants(tiny_space: Any) -> None:
    asks, told = run(Genetic(GeneticOptions(population=20, iterations=6, elite=0.2)), problem_of(tiny_space), noise)
    assert len(asks) == 6
    for before, ask in zip(told, asks[1:], strict=False):
        elites = [s.arch for s in sorted(before, key=lambda s: s.loss)[:4]]
        assert list(ask.architectures[:4]) == elites
        for child in ask.architectures[4:]:
            assert min(_active_differences(tiny_space, e, child) for e in elites) <= 2
    assert [a.keep for a in asks] == [4] * 5 + [None]


def _active_differences(space: Any, a: Architecture, b: Architecture) -> int:
    both = [x and y for x, y in zip(space.active(a), space.active(b), strict=True)]
    return sum(on and x != y for on, x, y in zip(both, a.genes, b.genes, strict=True))


@pytest.mark.parametrize("share", [1.0, 0.3, 0.02])
def test_every_pool_is_feasible_full_and_without_doubles(tiny_space: Any, share: float) -> None:
    limit = float(np.quantile([tiny_space.cost(a)["params"] for a in tiny_space.everything()], share))
    problem = problem_of(tiny_space, limit)
    asks, _ = run(Genetic(GeneticOptions(population=40, iterations=8)), problem, noise)
    for ask in asks:
        assert len(ask.architectures) == len(set(ask.architectures)) == 40
        assert all(problem.feasible(a) for a in ask.architectures)


def test_a_space_smaller_than_the_pool_is_asked_for_as_a_whole(make_tiny_space: Any) -> None:
    """A pool that insists on its size would never be full."""
    space = make_tiny_space(depth=1, widths=(2,), acts=("relu",))
    asks, _ = run(Genetic(GeneticOptions(population=30, iterations=3)), problem_of(space), noise)
    assert [sorted(a.architectures) for a in asks] == [space.everything()] * 3


def test_a_network_that_diverged_is_no_elite(tiny_space: Any) -> None:
    def loss(iteration: int, arch: Architecture) -> float:
        return noise(iteration, arch) if arch.genes[1] == 0 else math.inf

    asks, told = run(Genetic(GeneticOptions(population=10, iterations=4, elite=0.8)), problem_of(tiny_space), loss)
    for before, ask in zip(told, asks[1:], strict=False):
        finite = sorted((s for s in before if s.loss < math.inf), key=lambda s: s.loss)[:8]
        assert 0 < len(finite) < 9
        assert list(ask.architectures[: len(finite)]) == [s.arch for s in finite]
    asks, _ = run(Genetic(GeneticOptions(population=10, iterations=3)), problem_of(tiny_space), lambda i, a: math.inf)
    assert len(asks[0].architectures) == len(asks[2].architectures) == 10
    common = set(asks[0].architectures) & set(asks[2].architectures)
    assert len(common) < 5  # all is drawn afresh; of 18 networks with one layer some come up twice


def test_a_score_that_was_stopped_early_does_not_pass_for_a_better_one(tiny_space: Any) -> None:
    strategy = Genetic(GeneticOptions(population=10, iterations=2, elite=0.1))
    strategy.start(problem_of(tiny_space))
    first = strategy.ask()
    assert first is not None
    scored = [
        Scored(arch=a, loss=1.0, accuracy=0.5, cost=Cost(values={}), bound=i != 6)
        for i, a in enumerate(first.architectures)
    ]
    strategy.tell(scored)
    second = strategy.ask()
    assert second is not None
    assert second.architectures[0] == first.architectures[6]


def test_a_search_depends_on_its_generator_and_on_what_it_is_told(tiny_space: Any) -> None:
    """A resumed search is replayed with a fresh strategy and the same seed; it must ask the same again."""
    strategy = Genetic(GeneticOptions(population=12, iterations=5))
    first = run(strategy, problem_of(tiny_space, 500, seed=1), noise)
    assert run(strategy, problem_of(tiny_space, 500, seed=1), noise) == first
    assert run(strategy, problem_of(tiny_space, 500, seed=2), noise)[0][0] != first[0][0]


def test_without_revisit_only_elites_are_asked_for_again(make_tiny_space: Any) -> None:
    """On fixed tasks whatever is asked for again is known; the paper's fresh tasks make it another measurement."""
    space = make_tiny_space(depth=2)
    options = GeneticOptions(population=20, iterations=10, elite=0.2, revisit=False)
    asks, _ = run(Genetic(options), problem_of(space), objective(space))
    seen = set(asks[0].architectures)
    for ask in asks[1:]:
        assert set(ask.architectures[:4]) <= seen
        assert not seen & set(ask.architectures[4:])
        seen |= set(ask.architectures)
    again, _ = run(Genetic(evolve(options, revisit=True)), problem_of(space), objective(space))
    assert len({a for ask in again for a in ask.architectures}) < len(seen) == 20 + 9 * 16
    small = make_tiny_space(depth=1, widths=(2,), acts=("relu",))
    asks, _ = run(Genetic(options), problem_of(small), noise)
    assert [len(a.architectures) for a in asks] == [3] * 10  # nothing new is left: elites alone


def test_it_finds_the_best_architecture_more_often_than_random_search(tiny_space: Any) -> None:
    """One of the 3,100 that a limit admits, in 600 evaluations each (it was 13 and 0 of 20 when written)."""
    space = tiny_space
    everything = space.everything()
    limit = float(np.median([space.cost(a)["params"] for a in everything]))
    loss = objective(space)
    best = min(loss(0, a) for a in everything if space.cost(a)["params"] <= limit)
    found = {}
    for name, strategy in (
        ("genetic", Genetic(GeneticOptions(population=20, iterations=30, elite=0.2))),
        ("random", RandomSearch(RandomSearchOptions(population=20, iterations=30))),
    ):
        found[name] = 0
        for seed in range(20):
            asks, told = run(strategy, problem_of(space, limit, seed), loss)
            assert sum(len(a.architectures) for a in asks) == 600
            found[name] += min(s.loss for s in told[-1]) == best
    assert found["genetic"] >= 10
    assert found["random"] <= 5


def test_options_out_of_range_are_refused() -> None:
    for wrong in (
        {"population": 0},
        {"iterations": 0},
        {"elite": 0.0},
        {"elite": 1.5},
        {"mutations": 0},
        {"tries": -1},
    ):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            GeneticOptions(**wrong)  # type: ignore[arg-type]
