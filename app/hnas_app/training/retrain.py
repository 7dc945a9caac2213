"""Phase 4: train architectures alone with the meta-learner's recipe, as the paper does with the one it found.

`retrain` trains one, and shares out the tasks of each iteration. `side_by_side` trains several, each in a worker of its
own, which waits for nobody. The bits are the same if the learner's sums are exact.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from attrs import evolve, frozen

from hnas.architecture import Architecture
from hnas.errors import DivergenceError
from hnas.events import Event, Listener
from hnas.learner import State
from hnas_app.config.schema import RetrainConfig
from hnas_app.executors.in_process import InProcess
from hnas_app.executors.interface import Executor
from hnas_app.training.checkpoint import load_latest
from hnas_app.training.outer_loop import TrainPlan, train
from hnas_app.training.setup.setup import Setup, from_driver, to_workers
from hnas_app.training.setup.subnet import subnet, warm_start

STREAM = "retrain"
"""The stream of the tasks that all networks of a run are trained on, so that luck in tasks does not decide a race."""
CHUNK = 25
"""Iterations that the costliest of several networks is trained for before they are chosen anew; some seconds."""


@frozen(kw_only=True)
class Training:
    """The training of an architecture alone: its name in events, and the folder of its checkpoints."""

    phase: str
    arch: Architecture
    folder: Path
    until: int
    """The iteration that it stops after."""


def retrain(
    setup: Setup,
    supernet_state: State,
    arch: Architecture,
    config: RetrainConfig,
    executor: Executor,
    *,
    phase: str,
    folder: Path,
    emit: Listener,
    finished: bool = False,
    until: int | None = None,
) -> tuple[Setup, State]:
    """Return a set-up for ``arch`` alone and its learnt state; goes on from the last checkpoint in ``folder``.

    See `train` for ``finished`` and ``until``.
    """
    # A finished run is read without its data, so nothing is drawn from them here.
    alone = trained_alone(setup, arch) if "episodes" in vars(setup) else evolve(setup, alone=arch)

    def start() -> State:
        fresh = alone.fresh_state("retrain-init")
        if config.start == "scratch":
            return fresh
        return warm_start(setup.learner, setup.supernet, supernet_state, arch, fresh)

    plan = TrainPlan.of(config)
    return alone, train(
        alone,
        plan,
        lambda _: (arch,),
        executor,
        phase=phase,
        stream=STREAM,
        folder=folder,
        emit=emit,
        start=start,
        finished=finished,
        until=until,
    )


def trained_alone(setup: Setup, arch: Architecture) -> Setup:
    """Return the set-up of ``arch`` alone, with the same streams of tasks and the weights' names of the super-net."""
    alone = evolve(setup, alone=arch)
    vars(alone).update(supernet=subnet(setup.supernet, arch), episodes=setup.episodes)  # not made once more
    return alone


def side_by_side(
    setup: Setup,
    supernet_state: State,
    trainings: Sequence[Training],
    config: RetrainConfig,
    executor: Executor,
    *,
    emit: Listener,
) -> None:
    """Train several networks, each in a worker of its own, if there are as many as workers; else do nothing.

    Workers write the checkpoints, so they have to be processes of this machine. A training that diverges stays where it
    is: `retrain` then raises its error. What is computed in one worker does not depend on where a training was
    interrupted.
    """
    if not 2 <= executor.size <= len(trainings) or not executor.shares_disk or setup.accelerator != "cpu":
        return
    done = {t: _done(t) for t in trainings}
    if all(done[t] >= t.until for t in trainings):
        return
    work = {t: setup.work.macs(t.arch) for t in trainings}
    setup.send(executor)
    executor.put(state=to_workers(supernet_state))
    for t in trainings:
        if done[t] < t.until:
            emit(Event(phase=t.phase, kind="start", done=done[t], total=t.until))
    while left := [t for t in trainings if done[t] < t.until]:
        some = sorted(left, key=lambda t: -work[t] * (t.until - done[t]))[: executor.size]
        most = max(work[t] for t in some)
        chunks = [min(t.until, done[t] + max(1, round(CHUNK * most / work[t]))) for t in some]
        items = [_Chunk(evolve(t, until=until), config) for t, until in zip(some, chunks, strict=True)]
        for i, (told, ended) in executor.map_unordered(_train_chunk, items):
            done[some[i]] = some[i].until if ended else items[i].training.until
            for event in told:
                if event.kind != "end" or done[some[i]] == some[i].until:
                    emit(evolve(event, total=some[i].until))


def _done(training: Training) -> int:
    """Return how far a training is; all of it, if it has stopped by itself."""
    meta = _meta(training)
    return training.until if "kept" in meta else int(meta.get("iteration", 0))


def _meta(training: Training) -> Mapping[str, Any]:
    found = load_latest(training.folder, "state")
    return found[1] if found else {}


@frozen
class _Chunk:
    """The item of a worker: a training, up to the next time that the networks are chosen."""

    training: Training
    config: RetrainConfig

    def __repr__(self) -> str:
        return f"{self.training.phase}, to iteration {self.training.until}"


def _train_chunk(values: Mapping[str, Any], item: _Chunk) -> tuple[list[Event], bool]:
    """Run in a worker: train a network further; return the events, and whether it ended before the iteration."""
    setup, told, t = values["setup"], list[Event](), item.training
    state, _ = from_driver(values["state"], setup), setup.episodes  # made once, for all chunks
    with InProcess() as here:
        try:
            options: dict[str, Any] = {"phase": t.phase, "folder": t.folder, "until": t.until}
            retrain(setup, state, t.arch, item.config, here, emit=told.append, **options)
        except DivergenceError:
            ended = True
        else:
            ended = "kept" in _meta(t)
    return [event for event in told if event.kind != "start"], ended
