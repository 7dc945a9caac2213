"""Scores the candidates of a search: super-net weights, adapted to few-shot tasks, spread over workers.

Four things save work and change no score. Earlier scores are remembered (`ScoreStore`). A candidate that cannot be
among the best is scored no further (`truncated`). The costliest networks go first, so that workers end together.
Candidates that break a constraint are never scored: the search excludes them before.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

from attrs import define

from hnas.architecture import Architecture
from hnas.cost import Cost
from hnas.strategy import Ask, Scored
from hnas_app.search.estimates import ranking
from hnas_app.search.finalists import first_of_each, size
from hnas_app.search.place import Place, place_of_first
from hnas_app.search.score_store import ScoreStore
from hnas_app.search.truncation import Scoring, TaskScore, truncated
from hnas_app.training.setup.returned import tasks_at_once


@define(kw_only=True, eq=False)
class Evaluator:
    """Scores architectures by their mean loss over validation tasks (Algorithm 1), for one device.

    Iteration ``i`` draws ``config.tasks`` of the ``config.pool`` validation tasks, the same for all its architectures,
    so that candidates are compared on common tasks; with ``config.slice = "fixed"`` every iteration has those of the
    first. A score depends on seed, iteration and architecture only (and on the length of training that ``scores`` is
    of), so searches for several devices may have one store: `ScoreStore.settle` carries the scorings that `iteration`
    and `finals` return to their ends together.
    """

    scores: ScoreStore
    cost: Callable[[Architecture], Cost]

    def __call__(self, iteration: int, ask: Ask) -> list[Scored]:
        """Score the architectures that a strategy asked for in an iteration."""
        return self.scores.run(self.iteration(iteration, ask))

    def iteration(self, iteration: int, ask: Ask) -> Scoring[list[Scored]]:
        """Score the architectures that a strategy asked for on the tasks of an iteration."""
        return self.score(ask.architectures, self.slice(iteration), keep=ask.keep)

    def slice(self, iteration: int) -> list[int]:
        """Return the tasks of an iteration, by their index in the pool."""
        config, seeds = self.scores.config, self.scores.setup.seeds
        generator = seeds.numpy("search-slice", iteration if config.slice == "fresh" else 0)
        tasks = generator.choice(config.pool, min(config.tasks, config.pool), replace=False)
        return sorted(int(t) for t in tasks)

    def finals(
        self,
        last: Sequence[Scored],
        feasible: Callable[[Architecture], bool],
        plain: Callable[[Architecture], Architecture] = lambda arch: arch,
    ) -> Scoring[tuple[list[Scored], Place | None]]:
        """Score the best candidates again on more tasks, best first; return them with the first one's place.

        They are the best of the ``last`` iteration; or of all that were ever scored and are ``feasible``. Of these, the
        best of each size come first, each with its `plain` form: a population ends with networks that differ in
        activations only, and which of those is the best after re-training, the super-net cannot tell.
        """
        config, seeds = self.scores.config, self.scores.setup.seeds
        best = list(dict.fromkeys(s.arch for s in sorted(last, key=lambda s: s.loss)))
        if config.candidates == "all":
            best = list(dict.fromkeys([*filter(feasible, ranking(self.scores.known)), *best]))
            leaders = first_of_each([(size(self.cost(arch)), arch) for arch in best])
            best = list(dict.fromkeys([a for leader in leaders for a in (leader, plain(leader))] + best))
        drawn = seeds.numpy("final-slice").permutation(config.pool)[: config.final_tasks]
        tasks = sorted(int(t) for t in drawn)
        finalists = yield from self.score(best[: config.finalists], tasks)
        finalists = sorted(finalists, key=lambda s: s.loss)
        losses = [[self.scores.known[s.arch, t].loss for t in tasks] for s in finalists]
        return finalists, place_of_first(losses, seeds.numpy("final-rank"))

    def score(
        self, architectures: Sequence[Architecture], tasks: Sequence[int], *, keep: int | None = None
    ) -> Scoring[list[Scored]]:
        """Score architectures on the same tasks of the pool; if only the best ``keep`` matter, others in part."""
        setup = self.scores.setup
        distinct = list(dict.fromkeys(architectures))
        middle = sorted(distinct, key=setup.work.macs)[len(distinct) // 2]
        few = tasks_at_once(setup.learner, setup.supernet, middle, setup.n_way * setup.k_shot)
        found = yield from truncated(distinct, tasks, keep, few=few)
        return [_summary(a, found[a], self.cost(a), len(tasks), self.scores.train) for a in architectures]


def _summary(arch: Architecture, scores: Mapping[int, TaskScore], cost: Cost, n_tasks: int, train: int) -> Scored:
    """Return mean loss and accuracy; for a candidate that was scored in part, a lower bound of the loss."""
    loss = math.fsum(s.loss for s in scores.values()) / n_tasks
    accuracy = math.fsum(s.accuracy for s in scores.values()) / len(scores)
    return Scored(arch=arch, loss=loss, accuracy=accuracy, cost=cost, bound=len(scores) < n_tasks, train=train)
