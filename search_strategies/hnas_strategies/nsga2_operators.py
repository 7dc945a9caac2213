"""pymoo's NSGA-II on genes: cross-over and mutation for options without an order, and the limits. Imports pymoo."""

from __future__ import annotations

from collections.abc import Container, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pymoo.algorithms.moo.nsga2 import NSGA2, TournamentSelection, binary_tournament
from pymoo.config import Config
from pymoo.core.crossover import Crossover
from pymoo.core.duplicate import DuplicateElimination
from pymoo.core.mating import Mating
from pymoo.core.mutation import Mutation
from pymoo.core.population import Population
from pymoo.core.problem import Problem
from pymoo.core.termination import NoTermination

from hnas import Architecture, SearchProblem, SearchSpace

Config.warnings["not_compiled"] = False  # it would be printed among a command's results

Genes = NDArray[np.int64]
Objectives = tuple[float, float]


class Inherit(Crossover):  # type: ignore[misc]
    """Take each gene from either parent; if it is inactive in one, from the other.

    An inactive gene is 0 in every canonical architecture. So a plain uniform cross-over of a shallow and a deep network
    would fill the deep child's last layers with first options.
    """

    def __init__(self, space: SearchSpace) -> None:
        super().__init__(n_parents=2, n_offsprings=2, prob=0.9)
        self._space = space

    def _do(self, problem: Problem, parents: Genes, *args: Any, random_state: Any = None, **kwargs: Any) -> Genes:
        """Return the children (2, matings, genes) of parents of the same shape."""
        actives = np.array([[self._active(p) for p in one] for one in parents])
        swapped = random_state.random(parents.shape[1:]) < 0.5
        children = []
        for a, b in ((0, 1), (1, 0)):
            from_b = (swapped | ~actives[a]) & actives[b]
            children.append(np.where(from_b, parents[b], parents[a]))
        return np.array(children)

    def _active(self, genes: Genes) -> tuple[bool, ...]:
        return self._space.active(architecture(self._space, genes))


class Mutate(Mutation):  # type: ignore[misc]
    """Change a few active choices to any other option, as the space does: options such as activations have no order.

    The result is canonical, so that equal networks have equal genes.
    """

    def __init__(self, space: SearchSpace, count: int) -> None:
        super().__init__(prob=1.0)
        self._space, self._count = space, count

    def _do(self, problem: Problem, x: Genes, *args: Any, random_state: Any = None, **kwargs: Any) -> Genes:
        canonical = (self._space.canonical(architecture(self._space, genes)) for genes in x)
        return np.array([self._space.mutate(a, random_state, self._count).genes for a in canonical])


class Unwanted(DuplicateElimination):  # type: ignore[misc]
    """Drop children that break a limit, are ``known``, or are in the pool already; pymoo then mates again."""

    def __init__(self, search: SearchProblem, known: Container[Architecture]) -> None:
        super().__init__()
        self._search, self._known = search, known

    def _do(self, pop: Population, other: Population | None, dropped: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Mark what to drop from ``pop``: pymoo first calls it without ``other``, then for each other population."""
        held = {tuple(x) for x in other.get("X")} if other is not None else set[tuple[int, ...]]()
        for i, x in enumerate(pop.get("X")):
            dropped[i] |= tuple(x) in held
            if other is None:
                child = architecture(self._search.space, x)
                dropped[i] |= child in self._known or not self._search.feasible(child)
                held.add(tuple(x))
        return dropped


class Mates:
    """pymoo's NSGA-II over a search's architectures, one survival and mating at a time.

    All randomness comes from the search's generator. Nothing in ``known`` is asked for, even if added later.
    """

    def __init__(
        self, search: SearchProblem, n_survivors: int, *, mutations: int, tries: int, known: Container[Architecture]
    ) -> None:
        self._space = search.space
        last = np.array([len(c.options) - 1 for c in search.space.choices])
        problem = Problem(n_var=len(last), n_obj=2, xl=0, xu=last, vtype=int)
        mating = Mating(
            TournamentSelection(func_comp=binary_tournament),
            Inherit(search.space),
            Mutate(search.space, mutations),
            eliminate_duplicates=Unwanted(search, known),
            n_max_iterations=tries,
        )
        self._algorithm = NSGA2(pop_size=n_survivors, mating=mating)
        self._algorithm.setup(problem, termination=NoTermination(), seed=0)
        self._algorithm.random_state = search.generator

    def ask(self, n_children: int) -> list[Architecture]:
        """Return children of the survivors, all feasible and none twice; fewer, even none, if no more are found."""
        self._algorithm.n_offsprings = n_children
        children = self._algorithm.ask()
        if children is None:
            self._algorithm.termination.force_termination = False  # on other tasks others survive, and mate
            return []
        return [architecture(self._space, x) for x in children.get("X")]

    def tell(self, scored: Mapping[Architecture, Objectives]) -> list[Architecture]:
        """Let the best survive, by their scores on one slice of tasks, and return them."""
        told = Population.new(X=np.array([a.genes for a in scored]), F=np.array(list(scored.values())))
        if not self._algorithm.is_initialized:
            self._algorithm.tell(infills=told)  # pymoo keeps everyone of its first pool
        # Survivors are among those scored, with fresh scores: nothing is kept from before.
        self._algorithm.pop = told
        self._algorithm.tell()
        return [architecture(self._space, x) for x in self._algorithm.pop.get("X")]


def architecture(space: SearchSpace, genes: Genes) -> Architecture:
    """Return genes of pymoo as an architecture."""
    return Architecture(space.name, tuple(int(g) for g in genes))
