"""A strategy in the manner of Auto-Meta: networks grow choice by choice, and those that look best are trained first."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from attrs import frozen

from hnas import Architecture, Ask, Scored, SearchProblem, SearchStrategy
from hnas.settings import at_least_0, positive, setting


class AutoMeta(SearchStrategy):
    """Kim et al. (2018): from simple to complex; a surrogate ranks the next networks, which are trained for a while."""

    @frozen(kw_only=True)
    class Options:
        stages: int = setting(3, "batches; a stage adds a choice to the best of the one before", positive)
        beam: int = setting(4, "networks that are trained in a stage", positive)
        train: int = setting(4, "iterations of training before a network is scored", at_least_0)

    def __init__(self, options: Options) -> None:
        self._options = options

    @property
    def iterations(self) -> int:
        return self._options.stages

    def start(self, problem: SearchProblem) -> None:
        self._problem, self._asked = problem, 0
        self._losses: dict[Architecture, float] = {}

    def ask(self) -> Ask | None:
        if self._asked == self.iterations:
            return None
        self._asked += 1
        problem, beam = self._problem, self._options.beam
        grown = dict.fromkeys(
            n for arch in self._best(2) for n in problem.space.neighbours(arch) if problem.feasible(n)
        )
        fresh = [a for a in grown if a not in self._losses]
        picked = [fresh[i] for i in np.argsort(self._predicted(fresh), kind="stable")[:beam]] if self._losses else []
        while not picked:
            picked = list(dict.fromkeys(problem.sample_feasible(problem.generator) for _ in range(beam)))
        keep = None if self._asked == self.iterations else 2
        return Ask(architectures=tuple(picked), keep=keep, train=self._options.train)

    def tell(self, scored: Sequence[Scored]) -> None:
        self._losses |= {s.arch: s.loss for s in scored if not s.bound and math.isfinite(s.loss)}

    def _best(self, count: int) -> list[Architecture]:
        return sorted(self._losses, key=self._losses.__getitem__)[:count]

    def _predicted(self, archs: Sequence[Architecture]) -> np.ndarray:
        """Return losses by ridge regression on the options that the networks so far had."""
        known = self._features(list(self._losses))
        weights = np.linalg.solve(known.T @ known + np.eye(known.shape[1]), known.T @ list(self._losses.values()))
        return self._features(archs) @ weights if archs else np.zeros(0)

    def _features(self, archs: Sequence[Architecture]) -> np.ndarray:
        choices = self._problem.space.choices
        rows = [
            [float(g == o) for g, c in zip(a.genes, choices, strict=True) for o in range(len(c.options))] for a in archs
        ]
        return np.array(rows)
