"""The race of finalists: all are trained alone for a while, the best third goes on, and so on (successive halving).

Scores with super-net weights cannot say which of a search's finalists is the best after re-training. What was trained
is not thrown away: each heat goes on from the one before. Source: Jamieson and Talwalkar, AISTATS 2016; with thirds and
quarters in place of halves, since an order after a quarter of the training hardly says more than one after an eighth.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping
from pathlib import Path

from attrs import evolve, field, frozen

from hnas.architecture import Architecture
from hnas.errors import DataError, DivergenceError
from hnas.learner import State
from hnas.toolkit.codec import load, save
from hnas_app.executors.interface import Executor
from hnas_app.training.outer_loop import score_tasks
from hnas_app.training.setup.setup import Setup

FILE = "race.json"
"""The record of a race in a run directory."""
PURPOSE = "race-tasks"
"""The stream of validation tasks on which the networks are compared."""
FOUND = "found"
"""The name of the search's own choice in a race, as it has in results without one."""
DIVERGED = -1.0
THIRD = 3
"""Of the networks of a heat, one in so many goes on."""
AGAIN = "restore it from a copy, or move it and checkpoints/retrain-* away: the networks are then trained anew"


@frozen(kw_only=True)
class Heat:
    """One part of a race: the accuracy of each network that was still in it, on validation tasks."""

    iterations: int
    """How long each of them had been trained by then."""
    accuracies: Mapping[str, float]
    """By name. A network whose training diverged has -1."""
    ranking: tuple[str, ...] = field()
    """The names, best first; of equal ones, the one that was better before is the first."""

    @ranking.default
    def _by_accuracy(self) -> tuple[str, ...]:
        return tuple(sorted(self.accuracies, key=lambda name: -self.accuracies[name]))


@frozen(kw_only=True)
class Race:
    """A race, as far as it has come. If all that were trained to the end diverge, the next best runs one more heat."""

    networks: Mapping[str, Architecture]
    heats: tuple[Heat, ...] = ()
    schema: int = field(default=2, metadata={"unsealed": 1})

    @property
    def ranking(self) -> list[str]:
        """The names of all networks that did not diverge, best first: by the last heat that each of them was in."""
        names = dict.fromkeys([*(name for heat in reversed(self.heats) for name in heat.ranking), *self.networks])
        return [n for n in names if all(heat.accuracies.get(n) != DIVERGED for heat in self.heats)]

    @property
    def winner(self) -> tuple[str, Architecture]:
        """The name and the architecture of the network that won, or leads as yet."""
        return self.ranking[0], self.networks[self.ranking[0]]

    def is_trained(self, total: int) -> bool:
        """Return whether the winner was trained to the end."""
        return any(heat.iterations >= total and self.winner[0] in heat.accuracies for heat in self.heats)

    def after(self, iterations: int, accuracies: Mapping[str, float]) -> Race:
        """Return the race after one more heat."""
        return evolve(self, heats=(*self.heats, Heat(iterations=iterations, accuracies=accuracies)))


def read_race(record: Path) -> Race:
    """Return the race on record. Raises `DataError` if it is missing or damaged."""
    try:
        return load(record, Race, hint=AGAIN)
    except DataError as cause:
        raise DataError(str(cause), hint=AGAIN) from cause


def race(
    networks: Mapping[str, Architecture],
    accuracy_after: Callable[[str, Architecture, int], float],
    total: int,
    record: Path,
    note: Callable[[str], None],
    *,
    to_the_end: Collection[str] = (),
) -> Race:
    """Race ``networks`` and return the record; it goes on from ``record`` if there is one.

    ``accuracy_after`` trains a network to a number of iterations and returns its accuracy on validation tasks; it may
    raise `DivergenceError`. After each heat a third of its networks go on, for four times as long. At most three run
    the one that ends after half of ``total`` iterations; these and those of ``to_the_end`` are trained to the end.
    If too many diverge, those that left before go on. Raises `DivergenceError` if all do, and `DataError` if the race
    on record is one of other networks.
    """
    done = read_race(record) if record.is_file() else Race(networks=dict(networks))
    if done.networks != networks:
        raise DataError(f"{record} is not a race of these networks: {', '.join(networks)}", hint=AGAIN)
    heats = [total // 2, total]
    while THIRD ** (len(heats) - 1) < len(networks):
        heats.insert(0, heats[0] // 4)
    while len(done.heats) < len(heats) or not done.is_trained(total):
        iterations = max(1, heats[len(done.heats)]) if len(done.heats) < len(heats) else total
        going, found = _going(done, len(heats), to_the_end), dict[str, float]()
        for name in going:
            try:
                found[name] = accuracy_after(name, networks[name], iterations)
            except DivergenceError as cause:
                found[name], last = DIVERGED, cause
                note(f"{name} leaves the race: {cause}")
        done = done.after(iterations, found)
        if not done.ranking:
            raise last
        save(record, done)
    return done


def _going(done: Race, heats: int, to_the_end: Collection[str]) -> list[str]:
    """Return the names of the networks that run the next of so many heats, best first."""
    if not done.heats:
        return list(done.networks)
    if len(done.heats) >= heats:
        return done.ranking[:1]  # all that were trained to the end diverged
    last = len(done.heats[-1].accuracies)
    if len(done.heats) < heats - 1:
        return done.ranking[: math.ceil(last / THIRD)]
    return list(dict.fromkeys([*done.ranking[:last], *(name for name in done.ranking if name in to_the_end)]))


def mean_accuracy(
    alone: Setup, state: State, arch: Architecture, n_tasks: int, n_query: int, executor: Executor
) -> float:
    """Return the mean accuracy (0–1) of a network on validation tasks, which are the same for all of a race."""
    alone.send(executor)
    _, accuracies = score_tasks(executor, state, arch, "validation", PURPOSE, n_tasks, n_query)
    return sum(accuracies) / len(accuracies)
