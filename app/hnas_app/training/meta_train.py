"""Phase 1: meta-train the super-net over sampled architectures (Section 3.1 of the paper)."""

from __future__ import annotations

from pathlib import Path

from hnas.errors import DataError, quoted
from hnas.events import Event, Listener
from hnas.learner import State
from hnas_app.config.schema import MetaTrainConfig
from hnas_app.executors.interface import Executor
from hnas_app.training.outer_loop import TrainPlan, train
from hnas_app.training.sampling.architectures import check_sampling, sampler_of
from hnas_app.training.sampling.attention import Attention
from hnas_app.training.sampling.stages import skipped
from hnas_app.training.setup.setup import Setup

PHASE = "meta-train"


def super_net_gone(folder: Path) -> DataError:
    """Return the error for a finished super-net whose checkpoints are missing or damaged."""
    return DataError(
        f"the super-net is trained, but {folder} holds no whole checkpoint of it any more",
        hint="restore state-*.json and state-*.safetensors from a copy or from a run that started from it; "
        f"to train it again, start another run: hnas meta-train --config {quoted(folder.parents[1] / 'config.toml')}",
    )


def super_net_misfit(run: Path, learner: str, misfit: str) -> DataError:
    """Return the error for a super-net whose state is not as the settings of its run say; see `Setup.misfit`."""
    return DataError(
        f"the checkpoint of {run} is not of the run's settings: {misfit}",
        hint=f"another version of learner {learner!r} or of the space may have written it; environment.json has the "
        "versions",
    )


def meta_train(
    setup: Setup, config: MetaTrainConfig, executor: Executor, *, folder: Path, emit: Listener, finished: bool = False
) -> State:
    """Return the super-net's learnt state; goes on from the last checkpoint in ``folder``.

    Raises `DataError` if the training is known to be ``finished``, and no whole checkpoint is left: hours of work are
    not repeated unasked.
    """

    def start() -> State:
        if finished:
            raise super_net_gone(folder)
        check_sampling(setup.space, setup.learner, config, setup.seeds)
        if config.sampling == "ofa" and (kinds := skipped(setup.space)):
            text = f"{setup.space.name} has no choice of {' or '.join(kinds)} to shrink: the stage before goes on"
            emit(Event(phase=PHASE, kind="note", text=text))
        return setup.fresh_state("meta-train-init")

    attention = Attention(setup.space, config.temperature) if config.sampling == "attentive" else None
    return train(
        setup,
        TrainPlan.of(config),
        sampler_of(setup.space, config, setup.seeds, attention, setup.learner),
        executor,
        phase=PHASE,
        folder=folder,
        emit=emit,
        start=start,
        attention=attention,
        finished=finished,
    )
