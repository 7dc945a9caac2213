"""The suite catches a broken strategy, whatever is broken: one test fails, the one that is meant for it."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from typing import Any

import pytest
from attrs import evolve

from hnas import Architecture, Ask, InfeasibleError, Scored, SearchProblem, SearchStrategy
from hnas.testing import StrategyConformance


class Search(SearchStrategy):
    """Random architectures, then the best one beside others. Nothing is wrong with it."""

    iterations = 4
    size = 6

    def start(self, problem: SearchProblem) -> None:
        self.problem, self.asked, self.best = problem, 0, list[Architecture]()

    def draw(self) -> Architecture:
        return self.problem.sample_feasible(self.problem.generator)

    def ask(self) -> Ask | None:
        if self.asked == self.iterations:
            return None
        self.asked += 1
        fresh = [self.draw() for _ in range(self.size)]
        return Ask(architectures=tuple(dict.fromkeys([*self.best, *fresh])), keep=1)

    def tell(self, scored: Sequence[Scored]) -> None:
        best = min(scored, key=lambda s: (s.bound, s.loss))
        self.best = [best.arch] if math.isfinite(best.loss) else []


class IgnoresLimits(Search):
    def draw(self) -> Architecture:
        super().draw()
        return self.problem.space.largest()


class EndsEarly(Search):
    def ask(self) -> Ask | None:
        return super().ask() if self.asked < 3 else None


class RollsADice(Search):
    """The order of a batch is drawn from Python's own generator."""

    def ask(self) -> Ask | None:
        ask = super().ask()
        archs = ask.architectures if ask else ()
        return ask and evolve(ask, architectures=tuple(random.sample(archs, len(archs))))

    def tell(self, scored: Sequence[Scored]) -> None:
        self.best = []


class Remembers(Search):
    """What an earlier search found is asked for in the next one, where it is feasible."""

    memory: Architecture | None = None

    def start(self, problem: SearchProblem) -> None:
        super().start(problem)
        if self.memory is not None and problem.feasible(self.memory):
            self.best = [self.memory]

    def tell(self, scored: Sequence[Scored]) -> None:
        super().tell(scored)
        self.memory = min((s.arch for s in scored), key=lambda a: a.genes)


class DividesByTheLoss(Search):
    def tell(self, scored: Sequence[Scored]) -> None:
        finite = [s for s in scored if math.isfinite(s.loss)]
        self.best = [sorted(finite, key=lambda s: (s.bound, s.loss))[0].arch]


class TrustsBounds(Search):
    def tell(self, scored: Sequence[Scored]) -> None:
        super().tell([evolve(s, bound=False) for s in scored])


class CountsWhatItIsTold(Search):
    def tell(self, scored: Sequence[Scored]) -> None:
        if len(scored) > self.size + 1:
            raise ValueError("more scores than were asked for")
        super().tell(scored)


class WaitsForNewOnes(Search):
    """An architecture that was asked for before is drawn again; there is an end to its patience, for this test."""

    def start(self, problem: SearchProblem) -> None:
        super().start(problem)
        self.seen: set[Architecture] = set()

    def draw(self) -> Architecture:
        for _ in range(3000):
            if (arch := super().draw()) not in self.seen:
                self.seen.add(arch)
                return arch
        raise TimeoutError("no new architecture")


class CollectsProposals(Search):
    """It begins with three different proposals; there is an end to its patience, for this test."""

    def start(self, problem: SearchProblem) -> None:
        super().start(problem)
        count = 3 if problem.proposals else 0
        while problem.proposals and len(set(problem.proposals(count))) < 3:
            if (count := count + 1) > 50:
                raise TimeoutError("no third proposal")


class SwallowsErrors(Search):
    def ask(self) -> Ask | None:
        try:
            return super().ask()
        except InfeasibleError:
            return None


class TrainsTooLong(Search):
    """It trains its candidates without asking how long that may take."""

    def ask(self) -> Ask | None:
        ask = super().ask()
        return ask and evolve(ask, train=5000)


BROKEN: dict[Any, str] = {
    IgnoresLimits: "test_asks_for_feasible_architectures",
    EndsEarly: "test_ends_after_the_iterations_it_tells",
    RollsADice: "test_a_search_can_be_replayed",
    Remembers: "test_start_forgets_an_earlier_search",
    DividesByTheLoss: "test_survives_infinite_losses",
    TrustsBounds: "test_takes_a_bound_for_no_loss",
    CountsWhatItIsTold: "test_survives_scores_that_others_asked_for",
    CollectsProposals: "test_takes_proposals_as_they_come",
    WaitsForNewOnes: "test_ends_where_the_space_is_used_up",
    SwallowsErrors: "test_an_impossible_limit_is_told",
    TrainsTooLong: "test_asks_for_training_that_there_is",
}
MORE = {IgnoresLimits, RollsADice}
"""Of these all tests that compare or check batches must fail as well."""


@pytest.mark.parametrize("broken", BROKEN, ids=lambda cls: cls.__name__)
def test_a_broken_strategy_fails_the_test_for_it(broken, failures):
    failed = failures(StrategyConformance, broken)
    assert BROKEN[broken] in failed
    assert set(failed) == {BROKEN[broken]} or broken in MORE, failed


@pytest.mark.parametrize(
    "broken", [c for c in BROKEN if c not in (DividesByTheLoss, CountsWhatItIsTold, CollectsProposals, WaitsForNewOnes)]
)
def test_the_message_tells_what_to_do(broken, failures):
    """Those left out raise an error of their own, whose traceback leads to the place."""
    assert "\nwhat to do: " in failures(StrategyConformance, broken)[BROKEN[broken]]


def test_nothing_is_said_against_a_good_one(failures):
    assert failures(StrategyConformance, Search) == {}


def test_every_test_has_a_broken_strategy():
    tests = {name for name in dir(StrategyConformance) if name.startswith("test_") and "options" not in name}
    assert tests - set(BROKEN.values()) == set()
