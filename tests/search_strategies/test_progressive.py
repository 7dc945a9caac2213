"""Progressive search: one choice after the other becomes free, a surrogate ranks, and the optimum is found."""

from __future__ import annotations

import math
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve
from driving import additive, noise, problem_of, run

from hnas import Registry
from hnas_app.search.trace import SearchTrace
from hnas_strategies import progressive, surrogate
from hnas_strategies.progressive import Progressive, ProgressiveOptions

SMALL = ProgressiveOptions(population=6, iterations=8)


def test_growth_that_a_surrogate_guides_finds_the_optimum(
    make_tiny_space: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One of 342 networks, in 44 scores: seven choices, then a step of local search (3 of 3 when written)."""
    monkeypatch.setattr(surrogate, "STEPS", 40)
    space = make_tiny_space(depth=2)
    loss = additive(space)
    best = min(space.everything(), key=lambda a: loss(0, a))
    found = 0
    for seed in range(3):
        asks, told = run(Progressive(SMALL), problem_of(space, seed=seed), loss)
        assert sum(len(a.architectures) for a in asks) <= 45
        found += min(told[-1], key=lambda s: s.loss).arch == best
    assert found >= 2


def test_in_each_step_the_next_choice_becomes_free(tiny_space: Any, quick_fits: None) -> None:
    """Ten choices in ten steps, then all of them; what is not free yet is as in the simplest network."""
    simplest = tiny_space.smallest().genes
    asks, _ = run(Progressive(evolve(SMALL, iterations=12)), problem_of(tiny_space), noise)
    for step, ask in enumerate(asks[:10], 1):
        assert len(ask.architectures) <= 6
        assert all(a.genes[step:] == simplest[step:] for a in ask.architectures)
        if step > 1:
            before = asks[step - 2].architectures
            assert all(any(a.genes[: step - 1] == b.genes[: step - 1] for b in before) for a in ask.architectures)
    assert sorted(a.genes[0] for a in asks[0].architectures) == [0, 1, 2]
    for before, ask in pairwise(asks[9:]):
        near = {n for a in before.architectures for n in (a, *tiny_space.neighbours(a))}
        assert set(ask.architectures) <= near
        assert len(ask.architectures) == 6


def test_few_steps_free_several_choices_each(tiny_space: Any, quick_fits: None) -> None:
    simplest = tiny_space.smallest().genes
    asks, _ = run(Progressive(evolve(SMALL, iterations=3)), problem_of(tiny_space), noise)
    for free, ask in zip((4, 7), asks, strict=False):
        assert all(a.genes[free:] == simplest[free:] for a in ask.architectures)
        assert any(a.genes[free - 1] != simplest[free - 1] for a in ask.architectures)
    assert [len(a.architectures) for a in asks] == [6] * 3


def test_the_surrogate_picks_among_all_that_a_network_may_grow_into(
    tiny_space: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With one that is right, the best six children of a batch, the best first."""
    loss = additive(tiny_space)
    monkeypatch.setattr(progressive, "fit", lambda *_: lambda archs: [loss(0, a) for a in archs])
    asks, _ = run(Progressive(SMALL), problem_of(tiny_space), loss)
    sizes = [len(c.options) for c in tiny_space.choices]
    freed = [range(math.ceil(k * 10 / 8), math.ceil((k + 1) * 10 / 8)) for k in range(8)]
    assert sum(map(len, freed)) == 10
    for free, before, ask in zip(freed[1:], asks, asks[1:], strict=False):
        children = set(before.architectures)
        for i in free:
            children |= {tiny_space.canonical(with_gene(a, i, gene)) for a in children for gene in range(sizes[i])}
        assert list(ask.architectures) == sorted(children, key=lambda a: loss(0, a))[: len(ask.architectures)]


def with_gene(arch: Any, index: int, gene: int) -> Any:
    return type(arch)(arch.space, (*arch.genes[:index], gene, *arch.genes[index + 1 :]))


def test_many_combinations_are_drawn_from(tiny_space: Any, monkeypatch: pytest.MonkeyPatch, quick_fits: None) -> None:
    monkeypatch.setattr(progressive, "CHILDREN", 4)
    asks, _ = run(Progressive(evolve(SMALL, iterations=2)), problem_of(tiny_space), noise)
    assert 2 <= len(asks[0].architectures) <= 5  # the simplest network and four children


@pytest.mark.parametrize("limit", [31, 60, 200])
def test_all_keep_the_limit_even_if_the_simplest_breaks_it(limit: int, tiny_space: Any, quick_fits: None) -> None:
    """A shallow network has a large classifier: that with the smallest options is not the cheapest."""
    problem = problem_of(tiny_space, limit)
    assert problem.feasible(tiny_space.smallest()) == (limit == 200)
    asks, _ = run(Progressive(SMALL), problem, noise)
    assert all(problem.feasible(a) for ask in asks for a in ask.architectures)


def test_known_architectures_are_in_the_first_batch_and_grow_as_well(tiny_space: Any, quick_fits: None) -> None:
    known = (tiny_space.largest(),)
    asks, _ = run(Progressive(SMALL), evolve(problem_of(tiny_space), known=known), noise)
    assert asks[0].architectures[0] == known[0]
    shallower = {tiny_space.canonical(with_gene(known[0], 0, depth)) for depth in (0, 1)}
    assert shallower & set(asks[0].architectures)


def test_networks_are_scored_after_a_training_if_wanted(tiny_space: Any, quick_fits: None) -> None:
    """As in Auto-Meta, and in full: the surrogate learns from bad ones, too."""
    asks, _ = run(Progressive(evolve(SMALL, train=5)), evolve(problem_of(tiny_space), max_train=5), noise)
    assert {(a.train, a.keep) for a in asks} == {(5, None)}


def test_a_search_goes_on_to_the_last_bit(tiny_space: Any, tmp_path: Path, quick_fits: None) -> None:
    whole = run(Progressive(SMALL), problem_of(tiny_space, 400), noise, SearchTrace(tmp_path / "whole.jsonl"))
    lines = (tmp_path / "whole.jsonl").read_text().splitlines(keepends=True)
    (tmp_path / "stopped.jsonl").write_text("".join(lines[:4]))
    asks, told = run(Progressive(SMALL), problem_of(tiny_space, 400), noise, SearchTrace(tmp_path / "stopped.jsonl"))
    assert (asks, told) == (whole[0][4:], whole[1][4:])


def test_networks_that_diverged_do_not_grow(tiny_space: Any, quick_fits: None) -> None:
    asks, _ = run(Progressive(SMALL), problem_of(tiny_space), lambda i, a: math.inf if a.genes[0] == 1 else noise(i, a))
    assert 1 in {a.genes[0] for a in asks[0].architectures}
    assert all(a.genes[0] != 1 for ask in asks[1:] for a in ask.architectures)
    asks, _ = run(Progressive(SMALL), problem_of(tiny_space), lambda i, a: math.inf)
    assert len(asks) == 8


def test_it_is_registered_and_options_out_of_range_are_refused() -> None:
    assert isinstance(Registry(third_party=False).create("strategy", "progressive"), Progressive)
    for wrong in ({"population": 0}, {"iterations": 0}, {"train": -1}):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            ProgressiveOptions(**wrong)
