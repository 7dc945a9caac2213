"""Short trainings: architectures trained alone for the first iterations of a re-training, each once, kept on disk.

They begin with the super-net's weights. Each is one item of work, so its result does not depend on how many workers
there are. `train` spreads the tasks of each iteration instead, which is faster for one architecture with many workers.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from attrs import define, evolve, field, frozen

from hnas.architecture import Architecture
from hnas.errors import DataError
from hnas.events import Event, Listener
from hnas.learner import State
from hnas.toolkit.codec import to_json
from hnas.toolkit.files import checksum
from hnas_app.config.schema import RetrainConfig
from hnas_app.executors.in_process import InProcess
from hnas_app.executors.interface import Executor
from hnas_app.training.checkpoint import load_checkpoint, save_checkpoint
from hnas_app.training.meta_batch import Part, meta_gradient
from hnas_app.training.outer_loop import TrainPlan, not_finite
from hnas_app.training.retrain import STREAM
from hnas_app.training.setup.setup import Setup
from hnas_app.training.setup.subnet import subnet, warm_start

PHASE = "short training"
AT_ONCE = 4
"""Trainings sent out at a time, for each worker: a longer one's first state waits in memory."""


@define(kw_only=True, eq=False)
class ShortTrainings:
    """Trains architectures as ``config`` says, and keeps their states in ``folder``, by architecture and length.

    What is there is not trained again, and a longer training goes on from the longest that is there. The folder belongs
    to one super-net and one configuration, as a run directory does.
    """

    config: RetrainConfig
    folder: Path
    emit: Listener
    """Receives the iterations that are done, of all that are wanted so far."""
    _done: int = field(default=0, init=False)
    _total: int = field(default=0, init=False)

    @classmethod
    def of(cls, checkpoints: Path, config: RetrainConfig, emit: Listener) -> ShortTrainings:
        """Return those of a run's or a sweep's searches, beside its other checkpoints."""
        return cls(config=config, folder=checkpoints / "search", emit=emit)

    def train(self, archs: Sequence[Architecture], until: int, setup: Setup, executor: Executor) -> None:
        """Train those of ``archs`` that are not on disk, up to an iteration. The workers have the set-up and the state.

        One whose loss or weights are no longer finite is kept as that, and a note names it.
        """
        missing = [(a, self._longest(a, until)) for a in archs if not self._path(a, until).exists()]
        self._tell(total=sum(until - first for _, first in missing))
        plan = TrainPlan.of(self.config)
        for at in range(0, len(missing), AT_ONCE * executor.size):
            some = missing[at : at + AT_ONCE * executor.size]
            items = [_Item(a, plan, first, until, self.state(a, first) if first else None) for a, first in some]
            for i, state in executor.map_unordered(_train, items):
                arch, first = some[i]
                meta = {"iteration": until, "arch": to_json(arch)}
                save_checkpoint(self.folder, self._path(arch, until).stem, _tensors(state), meta)
                if not state:
                    text = f"{setup.space.options(arch)} diverged within {until} iterations, so it counts as the worst"
                    self.emit(Event(phase=PHASE, kind="note", text=text))
                self._tell(done=until - first)

    def end(self) -> None:
        """Report that no more are wanted."""
        if self._total:
            self.emit(Event(phase=PHASE, kind="end", done=self._done, total=self._total))

    def state(self, arch: Architecture, after: int) -> dict[str, Any]:
        """Return a trained state, as arrays; empty if the training diverged. Raises `DataError` if it is damaged."""
        path = self._path(arch, after)
        try:
            return {k: v.numpy() for k, v in load_checkpoint(path)[0].items()}
        except DataError as cause:
            raise DataError(str(cause), hint=f"move {path} away: the network is then trained again") from cause

    def _path(self, arch: Architecture, after: int | str) -> Path:
        return self.folder / f"{checksum(to_json(arch))}-after{after}.json"

    def _longest(self, arch: Architecture, until: int) -> int:
        """Return the length of the longest training on disk that one ``until`` an iteration can go on from, or 0."""
        lengths = (int(p.stem.rpartition("after")[2]) for p in self.folder.glob(self._path(arch, "*").name))
        return max((n for n in lengths if n < until), default=0)

    def _tell(self, *, total: int = 0, done: int = 0) -> None:
        if total or done:
            kind = "step" if self._total else "start"
            self._total, self._done = self._total + total, self._done + done
            self.emit(Event(phase=PHASE, kind=kind, done=self._done, total=self._total))


@frozen
class _Item:
    """The item of a worker: an architecture to train from one iteration to another, and its state before, if any."""

    arch: Architecture
    plan: TrainPlan
    first: int
    until: int
    state: Mapping[str, Any] | None

    def __repr__(self) -> str:
        return f"{self.arch}, iterations {self.first} to {self.until}"


def longest(config: RetrainConfig) -> int:
    """Return the most iterations of a short training: those of the whole re-training."""
    return config.epochs * config.iterations


def trained_alone(setup: Setup, arch: Architecture) -> Setup:
    """Return the set-up of ``arch`` alone, with the same streams of tasks and the weights' names of the super-net."""
    alone = evolve(setup, alone=arch)
    vars(alone).update(supernet=subnet(setup.supernet, arch), episodes=setup.episodes)  # not made once more
    return alone


def _train(values: Mapping[str, Any], item: _Item) -> dict[str, Any]:
    """Run in a worker: return the state after the training, or nothing if it diverged."""
    import torch

    setup: Setup = values["setup"]
    arch, plan, alone = item.arch, item.plan, trained_alone(setup, item.arch)
    if item.state is None:
        shared = {k: torch.tensor(v) for k, v in values["state"].items()}
        state = warm_start(setup.learner, setup.supernet, shared, arch, alone.fresh_state("retrain-init"))
    else:
        state = _tensors(item.state)
    with InProcess() as here:
        here.put(setup=alone)
        for iteration in range(item.first, item.until if state else 0):
            progress = plan.progress(iteration)
            part = Part(arch=arch, tasks=range(plan.tasks))
            gradient, ((loss, _),) = meta_gradient(here, state, [part], plan.n_query, progress, STREAM)
            if not math.isfinite(loss):
                return {}
            setup.learner.update(state, gradient, plan.tasks, progress)
    return {} if not_finite(state) else {k: v.numpy() for k, v in state.items()}


def _tensors(arrays: Mapping[str, Any]) -> State:
    import torch

    return {k: torch.tensor(v) for k, v in arrays.items()}
