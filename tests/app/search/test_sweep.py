"""Searches in lock-step: each is told what the others had scored and it can use, and a sweep is replayed exactly."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs
import numpy as np
import pytest

from hnas import Architecture, Ask, PluginError, Scored, SearchProblem, SearchStrategy
from hnas.cost import PARAMS
from hnas.events import Event
from hnas.seeds import Seeds
from hnas_app.costs.limits import Constraint, resolve
from hnas_app.search.adapt import SPARE, shares
from hnas_app.search.feasibility import Feasibility
from hnas_app.search.loop import Search, joined, search
from hnas_app.search.trace import SearchTrace
from hnas_strategies.genetic import Genetic, GeneticOptions
from hnas_strategies.random_search import RandomSearch, RandomSearchOptions

LIMITS = (300, 600, 1200)
"""On the parameters, which 3 to 60 % of the tiny space keep."""
MakeProblem = Callable[..., SearchProblem]


@pytest.fixture
def make_problem(tiny_space: Any) -> MakeProblem:
    def make(params: float, seed: int = 0) -> SearchProblem:
        limits = resolve([Constraint.parse(f"params<={params}")], [PARAMS], None)
        feasibility = Feasibility(tiny_space, limits, tiny_space.cost)
        return SearchProblem(
            space=tiny_space,
            feasible=feasibility.feasible,
            cost=tiny_space.cost,
            sample_feasible=feasibility.sample,
            generator=np.random.default_rng(seed),
        )

    return make


class Spy(SearchStrategy):
    """Passes everything on to a strategy, and remembers it."""

    def __init__(self, inner: SearchStrategy) -> None:
        self.inner, self.asked, self.told = inner, list[Ask](), list[list[Scored]]()

    @property
    def iterations(self) -> int:
        return self.inner.iterations

    def start(self, problem: SearchProblem) -> None:
        self.inner.start(problem)

    def ask(self) -> Ask | None:
        ask = self.inner.ask()
        self.asked += [ask] if ask is not None else []
        return ask

    def tell(self, scored: Sequence[Scored]) -> None:
        self.told.append(list(scored))
        self.inner.tell(scored)


def genetic(iterations: int = 4) -> Spy:
    return Spy(Genetic(GeneticOptions(population=10, iterations=iterations, elite=0.2)))


class Scores:
    """Losses that depend on iteration and architecture only; counts what it was asked for."""

    def __init__(self, stop_at: int | None = None) -> None:
        self.stop_at, self.calls = stop_at, list[tuple[int, list[str]]]()

    def of(self, iteration: int, ask: Ask, problem: SearchProblem) -> list[Scored]:
        draws = [np.random.default_rng([iteration, *a.genes]).random() for a in ask.architectures]
        return [
            Scored(arch=a, loss=d, accuracy=1 / 3 * d, cost=problem.cost(a))
            for a, d in zip(ask.architectures, draws, strict=True)
        ]

    def together(self, searches: Sequence[Search]) -> Any:
        problems = {s.name: s.problem for s in searches}

        def evaluate(
            iteration: int, asks: Mapping[str, Ask], proposed_by: Mapping[Architecture, str]
        ) -> dict[str, list[Scored]]:
            if iteration == self.stop_at:
                raise KeyboardInterrupt
            self.calls.append((iteration, list(asks)))
            return {name: self.of(iteration, ask, problems[name]) for name, ask in asks.items()}

        return evaluate


def pairs(
    make_problem: MakeProblem, folder: Path | None = None, strategies: Sequence[Spy] | None = None, share: float = 0.4
) -> list[Search]:
    """Return a search for each limit, with the traces that ``folder`` holds."""
    made = strategies or [genetic() for _ in LIMITS]
    return [
        Search(
            name=str(limit),
            strategy=strategy,
            problem=attrs.evolve(make_problem(limit, seed), share=share),
            trace=SearchTrace(folder / f"{limit}.jsonl") if folder is not None else None,
        )
        for seed, (limit, strategy) in enumerate(zip(LIMITS, made, strict=True))
    ]


def test_each_is_told_its_own_batch_and_then_what_it_can_use_of_the_others(make_problem: MakeProblem) -> None:
    strategies = [genetic() for _ in LIMITS]
    searches = pairs(make_problem, strategies=strategies)
    found = search(searches, Scores().together(searches))
    borrowed = 0
    for s, spy in zip(searches, strategies, strict=True):
        others = [o for o in strategies if o is not spy]
        assert len(spy.asked) == len(spy.told) == 4
        for i, (ask, told) in enumerate(zip(spy.asked, spy.told, strict=True)):
            archs = [x.arch for x in told]
            own, rest = archs[: len(ask.architectures)], archs[len(ask.architectures) :]
            assert tuple(own) == ask.architectures
            useful = {a for o in others for a in o.asked[i].architectures if s.problem.feasible(a)}
            assert set(rest) == useful - set(own)
            assert len(archs) == len(set(archs))
            borrowed += len(rest)
        assert found[s.name] == spy.told[-1]
    assert borrowed > 30
    # Their elites are of all that they were told, wherever it came from.
    for spy in strategies:
        best = sorted(spy.told[0], key=lambda x: x.loss)[:2]
        assert [x.arch for x in best] == list(spy.asked[1].architectures[:2])


@pytest.mark.parametrize("strategy", [Genetic, RandomSearch])
def test_one_alone_is_told_what_it_asks_for(make_problem: MakeProblem, tmp_path: Path, strategy: Any) -> None:
    """Who has one device gets what asking and telling in turn gives, and a trace with just that."""
    options = {Genetic: GeneticOptions, RandomSearch: RandomSearchOptions}[strategy](population=10, iterations=4)
    problem, by_hand, told = make_problem(600), strategy(options), list[list[Scored]]()
    by_hand.start(problem)
    trace = SearchTrace(tmp_path / "alone.jsonl")
    while (ask := by_hand.ask()) is not None:
        told.append(Scores().of(len(told), ask, problem))
        trace.append(len(told) - 1, ask, told[-1])
        by_hand.tell(told[-1])
    (share,) = shares([make_problem(600)], Seeds(0))
    trace = SearchTrace(tmp_path / "sweep.jsonl")
    problem = attrs.evolve(make_problem(600), share=share)
    one = Search(name="one", strategy=strategy(options), problem=problem, trace=trace)
    assert search([one], Scores().together([one])) == {"one": told[-1]}
    assert (tmp_path / "sweep.jsonl").read_bytes() == (tmp_path / "alone.jsonl").read_bytes()


@pytest.mark.parametrize("torn", [False, True])
def test_a_sweep_that_was_stopped_ends_as_if_it_had_not_been(
    make_problem: MakeProblem, tmp_path: Path, torn: bool
) -> None:
    """Also where the stop fell between the traces: two of them lack an iteration that the first one has."""
    (tmp_path / "whole").mkdir()
    (tmp_path / "stopped").mkdir()
    searches = pairs(make_problem, tmp_path / "whole")
    whole = search(searches, Scores().together(searches))
    searches = pairs(make_problem, tmp_path / "stopped")
    with pytest.raises(KeyboardInterrupt):
        search(searches, Scores(stop_at=2).together(searches))
    if torn:
        for limit in LIMITS[1:]:
            path = tmp_path / "stopped" / f"{limit}.jsonl"
            path.write_bytes(path.read_bytes()[:-7])
    searches, scores = pairs(make_problem, tmp_path / "stopped"), Scores()
    assert search(searches, scores.together(searches)) == whole
    names = [str(limit) for limit in LIMITS]
    assert scores.calls == [*([(1, names[1:])] if torn else []), (2, names), (3, names)]
    for limit in LIMITS:
        traces = [(tmp_path / part / f"{limit}.jsonl").read_bytes() for part in ("whole", "stopped")]
        assert traces[0] == traces[1]


def test_a_search_that_ends_first_leaves_the_others_going(make_problem: MakeProblem) -> None:
    """A strategy may end when it likes; its candidates are then no longer among the others'."""
    strategies = [genetic(2), genetic(4), genetic(3)]
    searches, scores = pairs(make_problem, strategies=strategies), Scores()
    events: list[Event] = []
    found = search(searches, scores.together(searches), emit=events.append)
    assert [len(names) for _, names in scores.calls] == [3, 3, 2, 1]
    assert [len(spy.told) for spy in strategies] == [2, 4, 3]
    assert all(found[s.name] == spy.told[-1] for s, spy in zip(searches, strategies, strict=True))
    last = strategies[1]
    assert len(last.told[-1]) == len(last.asked[-1].architectures)
    assert [(e.done, e.total) for e in events] == [(i, 4) for i in (1, 2, 3, 4)]


def test_what_a_strategy_asks_for_must_be_feasible_for_its_own_pair(make_problem: MakeProblem, tiny_space: Any) -> None:
    """That another pair admits it is no excuse."""

    class Careless(Spy):
        def ask(self) -> Ask | None:
            return Ask(architectures=(tiny_space.largest(),))

    searches = pairs(make_problem, strategies=[genetic(), Careless(genetic()), genetic()])
    with pytest.raises(PluginError, match="asked for an architecture that breaks a constraint"):
        search(searches, Scores().together(searches))


def test_a_strategy_that_asks_for_nothing_at_all_is_told(make_problem: MakeProblem) -> None:
    class Idle(Spy):
        def ask(self) -> Ask | None:
            return None

    searches = pairs(make_problem, strategies=[genetic(), genetic(), Idle(genetic())])
    with pytest.raises(PluginError, match="ended without asking"):
        search(searches, Scores().together(searches))


def test_how_many_matter_is_each_ones_own_business(tiny_space: Any) -> None:
    """A strategy that keeps two must not have another's fifty scored in full."""
    everything = tiny_space.everything()
    own = Ask(architectures=tuple(everything[:3]), keep=2)
    other = Ask(architectures=tuple(everything[2:6]))
    found = joined(own, [other, own], lambda a: a != everything[4])
    assert found == Ask(architectures=(*everything[:4], everything[5]), keep=2)


def test_the_share_falls_with_the_number_of_those_who_can_help(make_problem: MakeProblem) -> None:
    same = [make_problem(600, seed) for seed in range(8)]
    assert shares(same[:1], Seeds(0)) == [1.0]
    assert shares(same, Seeds(0)) == pytest.approx([SPARE / 8] * 8)
    mixed = [make_problem(100), *(make_problem(2000, seed) for seed in range(7))]
    tight, *loose = shares(mixed, Seeds(0))
    assert tight > 2 * max(loose)  # what the others propose rarely fits it
    assert min(loose) > SPARE / 8  # what it proposes fits, but is far from their best
    assert shares(mixed, Seeds(0)) == [tight, *loose]


@pytest.mark.parametrize("share", [1.0, 0.4, 0.01])
def test_strategies_ask_for_their_share_of_new_ones(make_problem: MakeProblem, share: float) -> None:
    problem = attrs.evolve(make_problem(600), share=share)
    for strategy, sizes in (
        (genetic(), [math.ceil(10 * share), *[2 + math.ceil(8 * share)] * 3]),
        (Spy(RandomSearch(RandomSearchOptions(population=10, iterations=4, finalists=0.2))),
         [*[math.ceil(10 * share)] * 3, 2 + math.ceil(8 * share)]),
    ):  # fmt: skip
        one = Search(strategy=strategy, problem=problem)
        search([one], Scores().together([one]))
        kept = min(2, sizes[0])
        assert [len(ask.architectures) for ask in strategy.asked[:1]] == sizes[:1]
        if kept == 2:
            assert [len(ask.architectures) for ask in strategy.asked] == sizes
