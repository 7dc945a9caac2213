"""Random search: the baseline that every other strategy has to beat."""

from __future__ import annotations

from collections.abc import Sequence

from attrs import frozen

from hnas import Architecture, Ask, Scored, SearchProblem, SearchStrategy
from hnas.settings import fraction, positive, setting
from hnas_strategies.drawing import filled


@frozen(kw_only=True)
class RandomSearchOptions:
    """Options of `RandomSearch`; population and iterations give the same budget as for `Genetic`."""

    population: int = setting(100, "architectures in an iteration", positive)
    iterations: int = setting(200, "iterations", positive)
    finalists: float = setting(0.1, "share of the last iteration that goes to the best seen before", fraction)


class RandomSearch(SearchStrategy):
    """Score fresh feasible samples in every iteration, none twice, and the best of them again in the last one.

    Every iteration draws other tasks, so losses of different iterations are compared with noise only. Therefore a share
    of the last iteration goes to the best architectures seen before. They and the last fresh samples are scored there
    on the same tasks and in full. If the space holds no further feasible architecture, an iteration is smaller, down to
    the finalists alone.
    """

    def __init__(self, options: RandomSearchOptions) -> None:
        self._options = options

    @property
    def iterations(self) -> int:
        return self._options.iterations

    def start(self, problem: SearchProblem) -> None:
        self._problem = problem
        self._asked = 0
        self._seen: set[Architecture] = set()
        self._best: dict[Architecture, Scored] = {}

    def ask(self) -> Ask | None:
        if self._asked == self._options.iterations:
            return None
        self._asked += 1
        last = self._asked == self._options.iterations
        pool = list(self._best if last else self._problem.known if self._asked == 1 else [])
        pool = filled(self._problem, pool, self._options.population, self._seen)
        return Ask(architectures=tuple(pool or self._best), keep=None if last else self._n_finalists)

    def tell(self, scored: Sequence[Scored]) -> None:
        self._best |= {s.arch: s for s in scored}
        self._seen |= {s.arch for s in scored}  # in a sweep, others' too
        # A bound is no loss: architectures scored in full come first.
        best = sorted(self._best.values(), key=lambda s: (s.bound, s.loss))[: self._n_finalists]
        self._best = {s.arch: s for s in best}

    @property
    def _n_finalists(self) -> int:
        return max(1, round(self._options.finalists * self._options.population))
