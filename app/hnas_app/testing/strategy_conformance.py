"""The tests that every search strategy has to pass."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
from attrs import evolve

from hnas.architecture import Architecture
from hnas.cost import PARAMS
from hnas.errors import InfeasibleError
from hnas.strategy import Ask, Scored, SearchProblem, SearchStrategy
from hnas_app.costs.limits import Limit
from hnas_app.search.feasibility import Feasibility
from hnas_app.search.loop import check
from hnas_app.testing.conformance import Conformance
from hnas_app.testing.expectation import GlobalRandomness, ending, expect
from hnas_app.testing.tiny.space import TinySpace

ANY = 10**12
Losses = Callable[[int, Architecture], tuple[float, bool]]
"""The loss of an architecture in an iteration, and whether it is a bound."""


class StrategyConformance(Conformance[SearchStrategy]):
    """Tests of a strategy. Make one with a small budget, say 5 iterations of 10: each test searches several times."""

    limit: float = 300.0
    """The limit on the parameters of a `TinySpace` that a search has to keep; 31 are the fewest, 3,469 the most."""
    most_iterations: int = 100
    max_train: int = 1000
    """The most iterations of training that the strategy may ask for with each candidate."""

    def space(self) -> TinySpace:
        """Return the space that is searched; it prices its networks itself."""
        return TinySpace()

    # ---------------------------------------------------------------- asking

    def test_asks_for_feasible_architectures(self) -> None:
        """Members of the space that keep the limit, at least one a batch; the core refuses anything else."""
        self._asks(self.make(), self._problem())

    def test_ends_after_the_iterations_it_tells(self) -> None:
        """Progress and the remaining time are computed from them."""
        strategy = self.make()
        told = strategy.iterations
        then = "return a number from 1 on, and ask as often; use a small budget in `make`"
        holds = isinstance(told, int) and 1 <= told <= self.most_iterations
        expect(holds, f"1 to {self.most_iterations} iterations", told, then)
        asks = self._asks(strategy, self._problem())
        expect(len(asks) == told, f"{told} batches, as `iterations` says", len(asks), then)
        expect(strategy.ask() is None, "None from `ask` once the search is over", "a batch", "return None from then on")

    def test_a_search_can_be_replayed(self) -> None:
        """An interrupted search is resumed by asking again from the start, with the same generator and scores."""
        untouched = GlobalRandomness()
        first = self._asks(self.make(), self._problem())
        self._expect_same(first, self._asks(self.make(), self._problem()), "by another instance")
        untouched.expect_untouched("a strategy")

    def test_start_forgets_an_earlier_search(self) -> None:
        """One instance may search several times."""
        strategy = self.make()
        self._asks(strategy, self._problem(seed=1, limit=2 * self.limit), lambda i, a: (float(a.genes[0]), False))
        first = self._asks(strategy, self._problem())
        self._expect_same(first, self._asks(self.make(), self._problem()), "after another search")

    def test_asks_for_training_that_there_is(self) -> None:
        """Networks are trained no longer than in a re-training; ``problem.max_train`` holds how long that is."""
        trained = [ask.train for ask in self._asks(self.make(), self._problem())]
        holds = max(trained) <= self.max_train
        then = "make it shorter, by an option of the strategy, or set `max_train` in your test"
        expect(holds, f"`Ask.train` of at most {self.max_train}", trained, then)

    # ---------------------------------------------------------------- telling

    def test_survives_infinite_losses(self) -> None:
        """Weights that overflow give no finite loss, for some candidates or for all."""
        self._asks(self.make(), self._problem(), lambda i, a: (math.inf, False))
        self._asks(self.make(), self._problem(), lambda i, a: (math.inf if a.genes[0] else _loss(i, a)[0], False))

    def test_takes_a_bound_for_no_loss(self) -> None:
        """If ``keep`` is stated, the others may be stopped early: their score is less than their true loss.

        The same search is run with bounds that are close to the true loss, and with bounds of 0.
        """
        close, loose = (self._asks(self.make(), self._problem(), _loss, bound=share) for share in (0.999, 0.0))
        self._expect_same(
            close,
            loose,
            "whatever the bounds of architectures that were stopped early",
            "sort by (s.bound, s.loss), or look at full scores only; override this test if bounds are used as bounds",
        )

    def test_survives_scores_that_others_asked_for(self) -> None:
        """In a sweep a strategy needs only a part of a batch, and also receives scores of other searches."""
        problem = self._problem(share=0.5)
        generator = np.random.default_rng(5)
        further = [problem.sample_feasible(generator) for _ in range(3)]
        self._asks(self.make(), problem, further=further)

    def test_takes_proposals_as_they_come(self) -> None:
        """A learner may propose an architecture for each task, or the same one for all; most propose none."""
        for kinds in (100, 1):
            first, again = (self._asks(self.make(), self._problem(kinds=kinds)) for _ in range(2))
            self._expect_same(first, again, "with the same proposals")

    # ---------------------------------------------------------------- borders

    def test_ends_where_the_space_is_used_up(self) -> None:
        """Two architectures in all: a search that waits for a third would never end."""
        space = TinySpace(depth=1, widths=(2,), acts=("relu",))
        cheapest = sorted(space.cost(a)["params"] for a in space.everything())
        self._asks(self.make(), self._problem(space=space, limit=cheapest[1]))

    def test_an_impossible_limit_is_told(self) -> None:
        """``sample_feasible`` raises `InfeasibleError`, which names what can be reached: it must not be caught."""
        problem = self._problem(limit=1.0)
        then = "draw by `problem.sample_feasible`, and do not catch what it raises"
        with ending("InfeasibleError if no architecture keeps the limit", then, InfeasibleError) as seen:
            seen.append(f"{len(self._asks(self.make(), problem))} batches")

    # ---------------------------------------------------------------- inside

    def _problem(
        self,
        *,
        seed: int = 0,
        limit: float | None = None,
        share: float = 1.0,
        space: TinySpace | None = None,
        kinds: int | None = None,
    ) -> SearchProblem:
        """Return a problem; of its proposals at most ``kinds`` are different, by default there are none."""
        kinds = kinds or (100 if self.make().needs_proposals else None)
        space, limit = space or self.space(), limit or self.limit
        feasibility = Feasibility(space, [Limit(metric=PARAMS, value=limit, text=f"params<={limit:g}")], space.cost)

        def proposals(count: int) -> list[Architecture]:
            seeds = [task % (kinds or 1) for task in range(count)]
            drawn = [(space.sample(np.random.default_rng(s)), np.random.default_rng(s)) for s in seeds]
            return [feasibility.repair(arch, generator) for arch, generator in drawn]

        return SearchProblem(
            space=space,
            feasible=feasibility.feasible,
            cost=space.cost,
            sample_feasible=feasibility.sample,
            generator=np.random.default_rng(seed),
            share=share,
            max_train=self.max_train,
            proposals=proposals if kinds else None,
        )

    def _asks(
        self,
        strategy: SearchStrategy,
        problem: SearchProblem,
        losses: Losses | None = None,
        *,
        bound: float | None = None,
        further: Sequence[Architecture] = (),
    ) -> list[Ask]:
        """Search to the end, as the core does, and return all asks.

        If ``bound`` is given and a batch states ``keep``, all but the best are scored as that share of their loss.
        """
        __tracebackhide__ = True
        strategy.start(problem)
        asks: list[Ask] = []
        while (ask := strategy.ask()) is not None and len(asks) < self.most_iterations:
            then = "draw by problem.sample_feasible, or test with problem.feasible before asking"
            with ending("a batch of feasible architectures", then):
                check(strategy, evolve(problem, max_train=ANY), ask, len(asks))  # a test of its own holds that
            found = [(losses or _loss)(len(asks), a) for a in ask.architectures]
            if bound is not None and ask.keep is not None and ask.keep < len(found):
                worst = sorted(loss for loss, _ in found)[ask.keep - 1]
                found = [(loss, stopped) if loss <= worst else (bound * loss, True) for loss, stopped in found]
            told = [_scored(problem, a, *f) for a, f in zip(ask.architectures, found, strict=True)]
            told += [_scored(problem, a, *_loss(len(asks), a)) for a in further]
            strategy.tell([evolve(s, train=ask.train) for s in told])
            asks.append(ask)
        then = f"end by None after `iterations` batches, {self.most_iterations} at most in this test"
        expect(ask is None, "the search to end", f"{len(asks)} batches and no end", then)
        expect(bool(asks), "a batch", "none", "ask for one before the search is over")
        return asks

    def _expect_same(
        self,
        one: Sequence[Ask],
        two: Sequence[Ask],
        how: str,
        then: str = "let `ask` depend on the problem, its generator and what was told only; begin afresh in `start`",
    ) -> None:
        __tracebackhide__ = True
        differ = [i for i, (a, b) in enumerate(zip(one, two, strict=False)) if a != b]
        same = not differ and len(one) == len(two)
        seen = f"other ones from batch {differ[0] if differ else min(len(one), len(two))} on"
        expect(same, f"the same batches {how}", seen, then)


def _loss(iteration: int, arch: Architecture) -> tuple[float, bool]:
    """Return a loss without any order in it, a different one in each iteration: a search must not rely on repeats."""
    return float(np.random.default_rng([iteration, *arch.genes]).random()) + 0.1, False


def _scored(problem: SearchProblem, arch: Architecture, loss: float, bound: bool) -> Scored:
    return Scored(arch=arch, loss=loss, accuracy=0.5, cost=problem.cost(arch), bound=bound)
