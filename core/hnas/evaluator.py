"""Scores the candidates of a search: super-net weights, adapted to few-shot tasks, spread over workers.

Four things spare work here and change no score: what was scored before is remembered, a candidate that cannot be among
the best is scored no further, the costliest networks go first so that workers end together, and (before all this, in
the search) candidates that break a constraint are never scored at all.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from attrs import define, field

from hnas.accelerator import memory_explained
from hnas.architecture import Architecture
from hnas.config.schema import SearchConfig
from hnas.cost import Cost
from hnas.errors import PluginError
from hnas.executor import Executor
from hnas.learner import State
from hnas.rank import Rank, rank_of_first
from hnas.setup import Setup
from hnas.strategy import Ask, Scored
from hnas.transfer import from_driver, to_workers
from hnas.truncation import TaskScore, truncated

PURPOSE = "search-tasks"
"""The stream of validation tasks that candidates are scored on."""


@define(kw_only=True, eq=False)
class Evaluator:
    """Scores architectures by their mean loss over validation tasks (Algorithm 1), given a super-net's state.

    Iteration ``i`` draws ``config.tasks`` of the ``config.pool`` validation tasks, the same for all its architectures,
    so that candidates are compared on common tasks; with ``config.slice = "fixed"`` every iteration has those of the
    first. A score depends on seed, iteration and architecture only.
    """

    setup: Setup
    executor: Executor
    config: SearchConfig
    cost: Callable[[Architecture], Cost]
    known: dict[tuple[Architecture, int], TaskScore] = field(factory=dict, init=False)
    """Every score so far, of these weights."""

    def start(self, state: State) -> None:
        """Send the workers what they need, and forget scores of other weights."""
        self.known.clear()
        self.setup.send(self.executor)
        self.executor.put(state=to_workers(state))

    def __call__(self, iteration: int, ask: Ask) -> list[Scored]:
        """Score what a strategy asked for in an iteration."""
        return self.score(ask.architectures, self.slice(iteration), keep=ask.keep)

    def slice(self, iteration: int) -> list[int]:
        """Return the tasks of an iteration, by their index in the pool."""
        counter = iteration if self.config.slice == "fresh" else 0
        generator = self.setup.seeds.numpy("search-slice", counter)
        tasks = generator.choice(self.config.pool, min(self.config.tasks, self.config.pool), replace=False)
        return sorted(int(t) for t in tasks)

    def finals(self, candidates: Sequence[Scored]) -> tuple[list[Scored], Rank]:
        """Score the best candidates again on more tasks, best first; with how sure the first one's rank is."""
        best = sorted(candidates, key=lambda s: s.loss)[: self.config.finalists]
        drawn = self.setup.seeds.numpy("final-slice").permutation(self.config.pool)[: self.config.final_tasks]
        tasks = sorted(int(t) for t in drawn)
        finalists = sorted(self.score([s.arch for s in best], tasks), key=lambda s: s.loss)
        losses = [[self.known[s.arch, t].loss for t in tasks] for s in finalists]
        return finalists, rank_of_first(losses, self.setup.seeds.numpy("final-rank"))

    def score(
        self, architectures: Sequence[Architecture], tasks: Sequence[int], *, keep: int | None = None
    ) -> list[Scored]:
        """Score architectures on the same tasks of the pool; where only the best ``keep`` matter, others in part."""
        costs = {a: self.cost(a) for a in architectures}

        def look(wanted: Mapping[Architecture, Sequence[int]]) -> dict[Architecture, dict[int, TaskScore]]:
            missing = {a: tuple(t for t in ts if (a, t) not in self.known) for a, ts in wanted.items()}
            order = sorted((a for a in missing if missing[a]), key=lambda a: -costs[a]["macs"])
            items = [(a, missing[a], self.config.n_query, self.config.fitness) for a in order]
            for arch, scores in zip(order, self.executor.map(_score, items), strict=True):
                self.known |= {(arch, t): s for t, s in zip(missing[arch], scores, strict=True)}
            return {a: {t: self.known[a, t] for t in ts} for a, ts in wanted.items()}

        middle = sorted(costs, key=lambda a: costs[a]["macs"])[len(costs) // 2]
        n_support = self.setup.n_way * self.setup.k_shot
        few = self.setup.learner.tasks_at_once(self.setup.supernet, middle, n_support)
        found = truncated(list(costs), tasks, keep, look, few=few)
        return [_summary(a, found[a], costs[a], len(tasks)) for a in architectures]


def _summary(arch: Architecture, scores: Mapping[int, TaskScore], cost: Cost, n_tasks: int) -> Scored:
    """Return mean loss and accuracy; of a candidate that was scored in part, a lower bound of the loss."""
    loss = math.fsum(s.loss for s in scores.values()) / n_tasks
    accuracy = math.fsum(s.accuracy for s in scores.values()) / len(scores)
    return Scored(arch=arch, loss=loss, accuracy=accuracy, cost=cost, bound=len(scores) < n_tasks)


def _score(values: Mapping[str, Any], item: Any) -> list[TaskScore]:
    """Run in a worker: loss and accuracy of one architecture on each of some tasks of the pool."""
    setup: Setup = values["setup"]
    arch, tasks, n_query, fitness = item
    episodes = setup.episodes("validation", PURPOSE, tasks, n_query)
    state = from_driver(values["state"], setup)
    with memory_explained(f"the networks of {len(tasks)} tasks", "search.n_query or learner.batch_below_gflop"):
        scores = setup.learner.score(setup.supernet, state, episodes, arch, on=fitness)
    pairs = list(zip(scores.loss.tolist(), scores.accuracy.tolist(), strict=True))
    if any(loss < 0 for loss, _ in pairs):
        raise PluginError(f"the learner scored a loss of {min(pairs)[0]}, expected none below 0: losers are left by it")
    return [TaskScore(math.inf if math.isnan(loss) else loss, accuracy) for loss, accuracy in pairs]
