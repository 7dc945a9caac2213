"""Genetic adaption: Algorithm 1 of the H-Meta-NAS paper (arXiv 2109.04925)."""

from __future__ import annotations

import math
from collections.abc import Sequence

from attrs import frozen, validators

from hnas import Architecture, Ask, Scored, SearchProblem, SearchStrategy
from hnas.settings import at_least_0, positive, setting


@frozen(kw_only=True)
class GeneticOptions:
    """Options of `Genetic`. The defaults are the paper's if it gives them."""

    population: int = setting(100, "architectures in the pool (P)", positive)
    iterations: int = setting(200, "times that the pool is scored (M)", positive)
    elite: float = setting(
        0.1, "share of the pool, with the lowest loss, that stays and is mutated", positive, validators.le(1)
    )
    mutations: int = setting(2, "randomly picked choices that a mutation changes", positive)
    tries: int = setting(
        50, "mutants drawn for a place in the pool before a fresh sample takes it (not in the paper)", at_least_0
    )
    revisit: bool = setting(
        True, "ask again for mutants that were scored before; off for fixed tasks, which score them the same again"
    )


class Genetic(SearchStrategy):
    """Keep the elites, refill the pool with mutated elites, and score all of it again.

    What the paper leaves open: the first pool is drawn by ``sample_feasible`` (and holds `SearchProblem.known`);
    elites stay in the pool and are scored again, because every iteration draws other tasks; there is no cross-over.
    A mutant that breaks a constraint, or that the pool holds already, is drawn again; after ``tries`` of them a
    fresh feasible sample takes its place. The pool holds no architecture twice; it is smaller than P only if no
    other feasible one is found. An architecture whose loss is infinite is never an elite. In a sweep, candidates of
    other searches can become elites as well, and the pool has only this search's share of mutants.

    Without ``revisit`` only elites are asked for again. Fixed tasks need that: otherwise the known neighbours of the
    same elites fill the pool, for nothing, and the search ends once two mutations improve nothing.

    Only the elites matter in an iteration (``keep``), except in the last one: its whole pool is scored, to choose from
    and to plot.
    """

    def __init__(self, options: GeneticOptions) -> None:
        self._options = options

    @property
    def iterations(self) -> int:
        return self._options.iterations

    def start(self, problem: SearchProblem) -> None:
        self._problem = problem
        self._asked = 0
        self._elites: list[Architecture] = []
        self._known: set[Architecture] = set()

    def ask(self) -> Ask | None:
        if self._asked == self._options.iterations:
            return None
        self._asked += 1
        last = self._asked == self._options.iterations
        return Ask(architectures=tuple(self._pool()), keep=None if last else self._n_elites)

    def tell(self, scored: Sequence[Scored]) -> None:
        # A bound is no loss: only architectures scored in full can be among the best.
        best = sorted(scored, key=lambda s: (s.bound, s.loss))[: self._n_elites]
        self._elites = [s.arch for s in best if math.isfinite(s.loss)]
        if not self._options.revisit:
            self._known.update(s.arch for s in scored)

    @property
    def _n_elites(self) -> int:
        return max(1, round(self._options.elite * self._options.population))

    def _pool(self) -> list[Architecture]:
        """Return the elites and as many new architectures as there is room for, or this search's share of them."""
        pool = dict.fromkeys(self._elites if self._asked > 1 else self._problem.known)
        size = len(pool) + math.ceil(self._problem.share * (self._options.population - len(pool)))
        while len(pool) < size and (new := self._new(pool)) is not None:
            pool[new] = None
        return list(pool)

    def _new(self, pool: dict[Architecture, None]) -> Architecture | None:
        """Return a feasible architecture that is not in ``pool``, or ``None`` after a bounded number of tries."""
        problem, generator = self._problem, self._problem.generator
        for _ in range(self._options.tries if self._elites else 0):
            parent = self._elites[int(generator.integers(len(self._elites)))]
            child = problem.space.mutate(parent, generator, self._options.mutations)
            if child not in pool and child not in self._known and problem.feasible(child):
                return child
        for _ in range(max(1, self._options.tries)):
            fresh = problem.sample_feasible(generator)
            if fresh not in pool and fresh not in self._known:
                return fresh
        return None
