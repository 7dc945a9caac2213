"""Searches by the core's own loop on losses that are made up, for the tests of strategies."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from hnas import Architecture, Ask, Scored, SearchProblem, SearchStrategy
from hnas.cost import PARAMS
from hnas_app.costs.limits import Limit
from hnas_app.search.feasibility import Feasibility
from hnas_app.search.loop import Search, search
from hnas_app.search.trace import SearchTrace

Loss = Callable[[int, Architecture], float]
"""(iteration, architecture) → its loss there."""


def problem_of(space: Any, params: float = math.inf, seed: int = 0, share: float = 1.0) -> SearchProblem:
    limits = [Limit(metric=PARAMS, value=params, text=f"params<={params}")] if params < math.inf else []
    feasibility = Feasibility(space, limits, space.cost)
    return SearchProblem(
        space=space,
        feasible=feasibility.feasible,
        cost=space.cost,
        sample_feasible=feasibility.sample,
        generator=np.random.default_rng(seed),
        share=share,
    )


def run(
    strategy: SearchStrategy, problem: SearchProblem, loss: Loss, trace: SearchTrace | None = None
) -> tuple[list[Ask], list[list[Scored]]]:
    """Drive a search; return what was asked and told."""

    def score(iteration: int, arch: Architecture) -> Scored:
        return Scored(arch=arch, loss=loss(iteration, arch), accuracy=0.5, cost=problem.cost(arch))

    return run_scored(strategy, problem, score, trace)


def run_scored(
    strategy: SearchStrategy,
    problem: SearchProblem,
    score: Callable[[int, Architecture], Scored],
    trace: SearchTrace | None = None,
) -> tuple[list[Ask], list[list[Scored]]]:
    """Drive a search whose scores may be bounds."""
    asks, told = list[Ask](), list[list[Scored]]()

    def evaluate(iteration: int, asked: Mapping[str, Ask], _: object) -> dict[str, list[Scored]]:
        ((name, ask),) = asked.items()
        asks.append(ask)
        told.append([score(iteration, a) for a in ask.architectures])
        return {name: told[-1]}

    search([Search(strategy=strategy, problem=problem, trace=trace)], evaluate)
    return asks, told


def noise(iteration: int, arch: Architecture) -> float:
    """A loss without any structure, another one in every iteration."""
    return float(np.random.default_rng([iteration, *arch.genes]).random())


def interaction(space: Any) -> Callable[[Architecture], float]:
    """Return a loss to which every choice adds its share, and every pair of neighbouring choices; a mean over them."""
    rng = np.random.default_rng(42)
    own = [rng.random(len(c.options)) for c in space.choices]
    pair = [
        rng.random((len(a.options), len(b.options))) for a, b in zip(space.choices, space.choices[1:], strict=False)
    ]

    def mean(arch: Architecture) -> float:
        active = space.active(arch)
        single = sum(w[g] for w, g, on in zip(own, arch.genes, active, strict=True) if on)
        both = zip(pair, arch.genes, arch.genes[1:], active[1:], strict=False)
        return float((single + 0.7 * sum(w[a, b] for w, a, b, on in both if on)) / sum(active))

    return mean


def additive(space: Any) -> Loss:
    """Return a loss to which every active choice adds its share, and every iteration a constant; deeper is better."""
    rng = np.random.default_rng(42)
    own = [rng.normal(size=len(c.options)) for c in space.choices]

    def loss(iteration: int, arch: Architecture) -> float:
        shares = (w[g] for w, g, on in zip(own, arch.genes, space.active(arch), strict=True) if on)
        return float(sum(shares) - 3 * arch.genes[0] + np.random.default_rng(iteration).normal())

    return loss
