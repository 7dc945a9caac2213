"""Once-for-All's search: a predictor learns the super-net's scores, and evolution asks it instead of the super-net.

Cai, Gan, Wang, Zhang and Han, "Once-for-All: Train One Network and Specialize it for Efficient Deployment" (ICLR 2020).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from attrs import frozen, validators

from hnas import Architecture, Ask, Scored, SearchProblem, SearchStrategy
from hnas.settings import fraction, positive, setting
from hnas_strategies.drawing import TRIES, filled
from hnas_strategies.surrogate import Predict, fit

MUTATED = 0.5
"""The share of an evolution's children that are mutants; the others have two parents. As in the authors' code."""


@frozen(kw_only=True)
class PredictorOptions:
    """Options of `Predictor`; population and iterations give the same budget as for `Genetic`."""

    population: int = setting(100, "architectures scored in an iteration", positive)
    iterations: int = setting(
        200,
        "iterations: random architectures, to learn from, and in the last one the predictor's best",
        validators.ge(2),
    )
    pool: int = setting(100, "population of the evolution, which the predictor scores", validators.ge(2))
    generations: int = setting(500, "generations of the evolution", positive)
    parents: float = setting(0.25, "share of this population that has children", positive, validators.le(1))
    mutation: float = setting(0.1, "probability that a mutant draws a choice anew", fraction)


class Predictor(SearchStrategy):
    """Score random feasible architectures, fit a predictor to the scores, and score what evolves on its predictions.

    The evolution is that of the authors' code: the best quarter of the population stays and has children, half of them
    mutants of one parent, half with each choice of either parent; children that break a limit are drawn again. It
    differs in two things. It begins with the scored architectures rather than with new ones, and every architecture
    that it met can be in the last batch, which is scored truly: its best ``population`` by prediction.

    The predictor learns losses rather than accuracies, since the loss is the fitness here. Nothing is stopped early
    (no ``keep``): it learns from bad architectures, too. Without a finite loss the last batch is random.
    """

    def __init__(self, options: PredictorOptions) -> None:
        self._options = options

    @property
    def iterations(self) -> int:
        return self._options.iterations

    def start(self, problem: SearchProblem) -> None:
        self._problem = problem
        self._asked = 0
        self._told: list[Sequence[Scored]] = []

    def ask(self) -> Ask | None:
        if self._asked == self.iterations:
            return None
        self._asked += 1
        problem, seen = self._problem, dict.fromkeys(s.arch for batch in self._told for s in batch)
        if self._asked == self.iterations and (predict := fit(problem.space, self._told, problem.generator)):
            places = math.ceil(problem.share * self._options.population)
            return Ask(architectures=tuple(self._evolved(predict, list(seen))[:places]))
        drawn = filled(problem, () if seen else problem.known, self._options.population, seen)
        return Ask(architectures=tuple(drawn or list(seen)[: self._options.population]))  # none is left: again

    def tell(self, scored: Sequence[Scored]) -> None:
        self._told.append(scored)

    def _evolved(self, predict: Predict, start: Sequence[Architecture]) -> list[Architecture]:
        """Return all architectures that an evolution from ``start`` meets, by their predicted loss, the best first."""
        generator, pool = self._problem.generator, self._options.pool
        predicted = dict(zip(start, predict(start), strict=True))
        population = sorted(start, key=predicted.__getitem__)[:pool]
        for _ in range(self._options.generations):
            parents = population[: max(1, round(self._options.parents * pool))]
            children = []
            for number in range(pool):
                for _ in range(TRIES):
                    a, b = (parents[int(i)] for i in generator.integers(len(parents), size=2))
                    child = self._mutant(a) if number < MUTATED * pool else self._child(a, b)
                    if self._problem.feasible(child):
                        children.append(child)
                        break
            fresh = [a for a in dict.fromkeys(children) if a not in predicted]
            predicted |= zip(fresh, predict(fresh), strict=True)
            population = sorted(dict.fromkeys([*parents, *children]), key=predicted.__getitem__)
        return sorted(predicted, key=predicted.__getitem__)

    def _mutant(self, arch: Architecture) -> Architecture:
        """Draw each choice anew with the probability of a mutation, perhaps the same option again."""
        space, generator = self._problem.space, self._problem.generator
        drawn = generator.random(len(arch.genes)) < self._options.mutation
        genes = tuple(
            int(generator.integers(len(c.options))) if new else g
            for c, g, new in zip(space.choices, arch.genes, drawn, strict=True)
        )
        return space.canonical(Architecture(space.name, genes))

    def _child(self, a: Architecture, b: Architecture) -> Architecture:
        """Take each choice from either parent; if it is inactive in one, from the other."""
        space, coins = self._problem.space, self._problem.generator.random(len(a.genes)) < 0.5
        rows = zip(a.genes, b.genes, space.active(a), space.active(b), coins, strict=True)
        genes = tuple(x if on_a and (coin or not on_b) else y for x, y, on_a, on_b, coin in rows)
        return space.canonical(Architecture(space.name, genes))
