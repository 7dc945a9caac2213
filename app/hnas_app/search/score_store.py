"""The known scores of a super-net's sub-networks on each task, whichever search asked for them first.

A loss depends on the weights, the architecture and the task, not on the hardware or the search. So several searches,
for different devices and limits, share one store: none repeats an adaption of another.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from attrs import define, evolve, field, frozen

from hnas.architecture import Architecture
from hnas.learner import State
from hnas.toolkit.codec import from_json, to_json
from hnas.toolkit.files import check_seal, sealed
from hnas_app.config.schema import SearchConfig
from hnas_app.executors.interface import Executor
from hnas_app.search.truncation import Scoring, TaskScore
from hnas_app.trackers.json_lines import JsonLines
from hnas_app.training.accelerator import memory_explained
from hnas_app.training.setup.returned import checked_scores
from hnas_app.training.setup.setup import Setup, from_driver, to_workers
from hnas_app.training.short import AT_ONCE, ShortTrainings, trained_alone

T = TypeVar("T")

SCHEMA = 2
"""Of a line of the log. Those of the schema before have neither a number of it nor a checksum."""
PURPOSE = "search-tasks"
"""The stream of validation tasks that candidates are scored on."""
SCORES = "scores.jsonl"
"""The log of every score, in the order they came, in the folder of a run or of a sweep."""


@define(kw_only=True, eq=False)
class ScoreStore:
    """Scores architectures on tasks of the pool with one super-net's weights, each pair of them once.

    ``log`` keeps the scores on disk as they come. After a kill nothing is adapted again, and the scores are the same to
    the last bit: those computed anew would be rounded as the batch of tasks happens to be. The scores of networks that
    were trained alone for a while are in stores of their own, see `after`.
    """

    setup: Setup
    executor: Executor
    config: SearchConfig
    log: JsonLines | None = None
    trainings: ShortTrainings | None = None
    """For scores after a short training."""
    train: int = 0
    """The iterations of training of the networks that this store scores."""
    known: dict[tuple[Architecture, int], TaskScore] = field(factory=dict, init=False)
    """Every score so far, of these weights."""
    spent: Counter[str] = field(factory=Counter, init=False)
    """How many adaptions were run for each search: the first one that wanted them. One count for all lengths."""
    _after: dict[int, ScoreStore] = field(factory=dict, init=False)

    def start(self, state: State) -> None:
        """Send the workers the set-up and the state, and forget earlier scores. ``log`` must be of these weights.

        Raises `DataError` if the log is damaged.
        """
        self.known.clear()
        self.spent.clear()
        self._after.clear()
        if self.log is not None:
            self._recall(self.log)
        self.setup.send(self.executor)
        self.executor.put(state=to_workers(state))

    def after(self, train: int) -> ScoreStore:
        """Return the store of scores after so many iterations of training; it shares log, workers and counts."""
        if not train:
            return self
        if train not in self._after:
            if self.trainings is None:
                raise ValueError("this store has no short trainings")
            store = self._after[train] = evolve(self, train=int(train))
            store.spent = self.spent
            if self.log is not None:
                store._recall(self.log)
        return self._after[train]

    def run(self, scoring: Scoring[T]) -> T:
        """Carry one scoring to its end."""
        return self.settle({"": scoring})[""]

    def settle(
        self, scorings: Mapping[str, Scoring[T]], proposed_by: Mapping[Architecture, str] | None = None
    ) -> dict[str, T]:
        """Carry several scorings to their ends together, and return their results by name.

        They advance in rounds: all scores that they want next are computed together, each of them once. It counts for
        the scoring that proposed the architecture, if that is among them, else for the first. Rounds depend on the
        scores alone, so the counts do too, after a resume as well.
        """
        owners = proposed_by or {}
        results: dict[str, T] = {}
        going = {name: (scoring, next(scoring)) for name, scoring in scorings.items()}
        while going:
            wanted: dict[Architecture, dict[int, str]] = {}
            for name, (_, want) in going.items():
                for arch, tasks in want.items():
                    mine = wanted.setdefault(arch, {})
                    for t in tasks:
                        if t not in mine or owners.get(arch) == name:
                            mine[t] = name
            self._adapt(wanted)
            for name, (scoring, want) in list(going.items()):
                try:
                    found = {a: {t: self.known[a, t] for t in ts} for a, ts in want.items()}
                    going[name] = (scoring, scoring.send(found))
                except StopIteration as end:
                    results[name] = end.value
                    del going[name]
        return {name: results[name] for name in scorings}

    def _adapt(self, wanted: Mapping[Architecture, Mapping[int, str]]) -> None:
        """Adapt each architecture to those of its tasks that have no score yet. The costliest goes first."""
        missing = {a: {t: who for t, who in ts.items() if (a, t) not in self.known} for a, ts in wanted.items()}
        order = sorted((a for a in missing if missing[a]), key=self.setup.work, reverse=True)
        at_once = len(order)
        if self.train and self.trainings is not None:
            self.trainings.train(order, self.train, self.setup, self.executor)
            at_once = AT_ONCE * self.executor.size  # each has weights of its own
        for first in range(0, len(order), at_once or 1):
            self._compute([(a, missing[a]) for a in order[first : first + at_once]])

    def _compute(self, wanted: Sequence[tuple[Architecture, Mapping[int, str]]]) -> None:
        items = [(a, tuple(ts), self.config.n_query, self.config.fitness, *self._weights(a)) for a, ts in wanted]
        for done, (i, scores) in enumerate(self.executor.map_unordered(_score, items), 1):
            self._learn(*wanted[i], scores)
            self.spent.update(wanted[i][1].values())
            if self.log is not None:  # on disk before an iteration that rests on it is
                self.log.append(_line(*wanted[i], scores, self.train), sync=done == len(items))

    def _weights(self, arch: Architecture) -> list[Mapping[str, Any]]:
        """Return the trained weights of an architecture, without the parts for the driver; nothing for super-nets."""
        if not self.train or self.trainings is None:
            return []
        state = self.trainings.state(arch, self.train)
        return [{k: v for k, v in state.items() if not k.startswith("outer/")}]

    def _learn(self, arch: Architecture, owners: Mapping[int, str], scores: list[TaskScore]) -> None:
        self.known |= {(arch, t): s for t, s in zip(owners, scores, strict=True)}

    def _recall(self, log: JsonLines) -> None:
        for value in log.read():
            line = _read(value, log)
            owners = dict(zip(line.tasks, line.owners, strict=True))
            if line.train == self.train:
                scores = list(map(TaskScore, line.loss, line.accuracy))
                self._learn(Architecture(line.space, line.genes), owners, scores)
            if not self.train:  # then those of all lengths count
                self.spent.update(owners.values())


@frozen(kw_only=True)
class _Line:
    """A line of the log: an architecture's score on each task, and the search that it was adapted for."""

    space: str
    genes: tuple[int, ...]
    tasks: tuple[int, ...]
    owners: tuple[str, ...]
    loss: tuple[float, ...]
    accuracy: tuple[float, ...]
    train: int = 0

    def __attrs_post_init__(self) -> None:
        if len({len(column) for column in (self.tasks, self.owners, self.loss, self.accuracy)}) > 1:
            raise ValueError("its columns are not of one length")


def _line(arch: Architecture, owners: Mapping[int, str], scores: list[TaskScore], train: int) -> dict[str, Any]:
    loss, accuracy = zip(*scores, strict=True)
    columns: dict[str, Any] = {"train": train} if train else {}
    columns |= {"tasks": list(owners), "for": list(owners.values()), "loss": loss, "accuracy": accuracy}
    return sealed({"schema": SCHEMA} | to_json(arch) | to_json(columns))


def _read(value: Any, log: JsonLines) -> _Line:
    renamed = {**value, "owners": value.get("for")} if isinstance(value, dict) else value
    hint = "move the file away; its scores are then computed again"
    check_seal(value, str(log.path), needed=isinstance(value, dict) and "schema" in value, hint=hint)
    return from_json(renamed, _Line, str(log.path), hint=hint)


def _score(values: Mapping[str, Any], item: Any) -> list[TaskScore]:
    """Run in a worker: loss and accuracy of one architecture on each of some tasks of the pool."""
    setup: Setup = values["setup"]
    arch, tasks, n_query, fitness, *trained = item
    if trained == [{}]:  # its training diverged
        return [TaskScore(math.inf, 0.0)] * len(tasks)
    setup = trained_alone(setup, arch) if trained else setup
    episodes = setup.episodes("validation", PURPOSE, tasks, n_query)
    state = from_driver(trained[0] if trained else values["state"], setup)
    with memory_explained(f"the networks of {len(tasks)} tasks", "search.n_query or learner.batch_below_gflop"):
        found = setup.learner.score(setup.supernet, state, episodes, arch, on=fitness)
    scores = checked_scores(setup.learner, found, len(episodes))
    pairs = list(zip(scores.loss.tolist(), scores.accuracy.tolist(), strict=True))
    return [TaskScore(math.inf if math.isnan(loss) else loss, accuracy) for loss, accuracy in pairs]
