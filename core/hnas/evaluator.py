"""Scores the candidates of a search: super-net weights, adapted to few-shot tasks, spread over workers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from attrs import define

from hnas.architecture import Architecture
from hnas.config.schema import SearchConfig
from hnas.cost import Cost
from hnas.executor import Executor
from hnas.learner import State
from hnas.setup import Setup
from hnas.strategy import Ask, Scored
from hnas.training import from_driver, to_workers

PURPOSE = "search-tasks"
"""The stream of validation tasks that candidates are scored on."""


@define(kw_only=True, eq=False)
class Evaluator:
    """Scores architectures by their mean loss over validation tasks (Algorithm 1), given a super-net's state.

    Iteration ``i`` draws ``config.tasks`` of the ``config.pool`` validation tasks, the same for all its architectures,
    so that candidates are compared on common tasks. A score depends on seed, iteration and architecture only.
    """

    setup: Setup
    executor: Executor
    config: SearchConfig
    cost: Callable[[Architecture], Cost]

    def start(self, state: State) -> None:
        """Send the workers what they need."""
        self.setup.send(self.executor)
        self.executor.put(state=to_workers(state))

    def __call__(self, iteration: int, ask: Ask) -> list[Scored]:
        """Score what a strategy asked for in an iteration."""
        generator = self.setup.seeds.numpy("search-slice", iteration)
        tasks = generator.choice(self.config.pool, min(self.config.tasks, self.config.pool), replace=False)
        return self.score(ask.architectures, sorted(int(t) for t in tasks))

    def finals(self, candidates: Sequence[Scored]) -> list[Scored]:
        """Score the best candidates again on more tasks, best first."""
        best = sorted(candidates, key=lambda s: s.loss)[: self.config.finalists]
        tasks = self.setup.seeds.numpy("final-slice").permutation(self.config.pool)[: self.config.final_tasks]
        return sorted(self.score([s.arch for s in best], sorted(int(t) for t in tasks)), key=lambda s: s.loss)

    def score(self, architectures: Sequence[Architecture], tasks: Sequence[int]) -> list[Scored]:
        """Score each architecture on the same tasks of the pool, the costliest first so that workers end together."""
        costs = [self.cost(a) for a in architectures]
        order = sorted(range(len(costs)), key=lambda i: -costs[i]["macs"])
        items = [(architectures[i], tuple(tasks), self.config.n_query, self.config.fitness) for i in order]
        results = dict(zip(order, self.executor.map(_score, items), strict=True))
        return [
            Scored(arch=a, loss=results[i][0], accuracy=results[i][1], cost=costs[i])
            for i, a in enumerate(architectures)
        ]


def _score(values: Mapping[str, Any], item: Any) -> tuple[float, float]:
    """Run in a worker: mean loss and accuracy of one architecture over tasks of the pool."""
    setup: Setup = values["setup"]
    arch, tasks, n_query, fitness = item
    episodes = setup.episodes("validation", PURPOSE, tasks, n_query)
    scores = setup.learner.score(setup.supernet, from_driver(values["state"]), episodes, arch, on=fitness)
    return float(np.mean(scores.loss.tolist())), float(scores.accuracy.mean())
