"""A search strategy in user code: climb from the best network so far to the best of its neighbours.

hnas run --preset quick --strategy ./examples/custom_strategy.py:MyStrategy --set strategy.neighbours=20
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from attrs import frozen

from hnas import Architecture, Ask, Scored, SearchProblem, SearchStrategy
from hnas.settings import positive, setting


class MyStrategy(SearchStrategy):
    """Score random networks first, then the best one and some that differ from it in one choice, and move on."""

    @frozen(kw_only=True)
    class Options:
        """Options for ``--set strategy.KEY=VALUE`` and the table ``[strategy]``."""

        iterations: int = setting(20, "batches that are scored", positive)
        neighbours: int = setting(30, "neighbours in a batch, and random networks in the first one", positive)

    def __init__(self, options: Options) -> None:
        self._options = options

    @property
    def iterations(self) -> int:
        """The number of batches: for progress, and the remaining time."""
        return self._options.iterations

    def start(self, problem: SearchProblem) -> None:
        """Begin afresh. The generator in ``problem`` is all the randomness that a search may use."""
        self._problem = problem
        self._asked = 0
        self._centre: Architecture | None = None

    def ask(self) -> Ask | None:
        """Return the next batch, feasible architectures only, or ``None`` at the end."""
        if self._asked == self._options.iterations:
            return None
        self._asked += 1
        last = self._asked == self._options.iterations
        # Only the best one matters, so the others need not be scored to the end; all do in the last batch.
        return Ask(architectures=tuple(self._batch()), keep=None if last else 1)

    def tell(self, scored: Sequence[Scored]) -> None:
        """Move to the best. A bound is no loss, and weights that overflow give an infinite one."""
        full = [s for s in scored if not s.bound and math.isfinite(s.loss)]
        self._centre = min(full, key=lambda s: s.loss).arch if full else None

    def _batch(self) -> list[Architecture]:
        problem, count = self._problem, self._options.neighbours
        if self._centre is None:
            return list(dict.fromkeys(problem.sample_feasible(problem.generator) for _ in range(count)))
        near = [arch for arch in problem.space.neighbours(self._centre) if problem.feasible(arch)]
        picked = problem.generator.permutation(len(near))[:count]
        # The centre is scored again: every batch has tasks of its own, so only losses of one batch compare.
        return [self._centre, *dict.fromkeys(near[i] for i in picked if near[i] != self._centre)]
