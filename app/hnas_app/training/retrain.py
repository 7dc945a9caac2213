"""Phase 4: train one architecture alone with the meta-learner's recipe, as the paper does with the one it found."""

from __future__ import annotations

from pathlib import Path

import attrs

from hnas.architecture import Architecture
from hnas.events import Listener
from hnas.learner import State
from hnas_app.config.schema import RetrainConfig
from hnas_app.executors.interface import Executor
from hnas_app.training.outer_loop import TrainPlan, train
from hnas_app.training.setup.setup import Setup
from hnas_app.training.setup.subnet import warm_start

STREAM = "retrain"
"""The stream of the tasks that all networks of a run are trained on, so that luck in tasks does not decide a race."""


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
    alone = attrs.evolve(setup, alone=arch)

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
