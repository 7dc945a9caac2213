"""Progressive search: architectures grow from simple to complex, and a surrogate ranks what they may grow into.

Liu et al., "Progressive Neural Architecture Search" (ECCV 2018), with the meta-learner Reptile Auto-Meta's search (Kim
et al., "Auto-Meta: Automated Gradient Based Meta Learner Search", 2018).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from itertools import product

from attrs import frozen

from hnas import Architecture, Ask, Scored, SearchProblem, SearchStrategy
from hnas.settings import at_least_0, positive, setting
from hnas_strategies.surrogate import fit

CHILDREN = 100
"""The most children of an architecture; if it could have more, so many are drawn."""


@frozen(kw_only=True)
class ProgressiveOptions:
    """Options of `Progressive`; population and iterations give the same budget as for `Genetic`."""

    population: int = setting(100, "architectures scored in a step: those that the surrogate ranks first", positive)
    iterations: int = setting(
        200, "steps; in each the next choices become free, one if there are enough steps", positive
    )
    train: int = setting(
        0, "iterations of training before an architecture is scored; 0: with the super-net's weights", at_least_0
    )


class Progressive(SearchStrategy):
    """Begin with the simplest architecture, free its choices one after the other, and score what looks best.

    The simplest is `SearchSpace.smallest`, or a random one if that breaks a limit. In a step the next choices become
    free, in gene order: so many that all are in the last step. The architectures of the step before have a child for
    each combination of options of these choices, themselves included. The surrogate, fitted to all scores so far, ranks
    the children, and the first ``population`` are scored truly. It is as ignorant of an option that no architecture had
    yet as of the others of its choice, so all of them are tried with the best that is known of the choices before.

    Once all choices are free, a child differs from its parent in any one of them: the growth ends with a local search.
    PNAS grows a cell by a block of five choices in a step, of which it lists all combinations; here a step has as many
    choices as the number of steps asks for, and at most `CHILDREN` combinations of an architecture are considered.

    Nothing is stopped early (no ``keep``): the surrogate learns from bad architectures, too.
    """

    def __init__(self, options: ProgressiveOptions) -> None:
        self._options = options

    @property
    def iterations(self) -> int:
        return self._options.iterations

    def start(self, problem: SearchProblem) -> None:
        self._problem = problem
        self._asked = 0
        self._told: list[Sequence[Scored]] = []
        simplest = problem.space.smallest()
        self._parents = [
            simplest if problem.feasible(simplest) else problem.sample_feasible(problem.generator),
            *problem.known,
        ]

    def ask(self) -> Ask | None:
        if self._asked == self.iterations:
            return None
        self._asked += 1
        problem = self._problem
        places = math.ceil(problem.share * self._options.population)
        grown = list(dict.fromkeys([*self._parents, *filter(problem.feasible, self._children())]))
        ranked = [grown[i] for i in problem.generator.permutation(len(grown))]  # those that are predicted alike
        if predict := fit(problem.space, self._told, problem.generator):
            predicted = dict(zip(ranked, predict(ranked), strict=True))
            ranked.sort(key=predicted.__getitem__)
        known = problem.known if self._asked == 1 else ()
        picked = list(dict.fromkeys([*known, *ranked]))[: max(places, len(known))]
        return Ask(architectures=tuple(picked), train=self._options.train)

    def tell(self, scored: Sequence[Scored]) -> None:
        self._told.append(scored)
        self._parents = [s.arch for s in scored if math.isfinite(s.loss)] or self._parents

    def _children(self) -> Iterator[Architecture]:
        """Yield what the parents grow into in this step."""
        n_choices = len(self._problem.space.choices)
        per_step = max(1.0, n_choices / self.iterations)
        first, last = (min(n_choices, math.ceil(per_step * k)) for k in (self._asked - 1, self._asked))
        for parent in self._parents:
            if first < last:
                yield from self._combined(parent, range(first, last))
            else:
                yield from self._problem.space.neighbours(parent)

    def _combined(self, arch: Architecture, free: range) -> Iterator[Architecture]:
        """Yield ``arch`` with all combinations of options of the ``free`` choices, or with some that are drawn."""
        space, generator = self._problem.space, self._problem.generator
        sizes = [len(space.choices[i].options) for i in free]
        picked: Iterable[Sequence[int]] = product(*map(range, sizes))
        if math.prod(sizes) > CHILDREN:
            picked = generator.integers(sizes, size=(CHILDREN, len(sizes))).tolist()
        for genes in picked:
            yield space.canonical(
                Architecture(space.name, (*arch.genes[: free.start], *genes, *arch.genes[free.stop :]))
            )
