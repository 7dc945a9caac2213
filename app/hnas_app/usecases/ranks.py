"""``torchrun … -m hnas meta-train``: the ranks join, rank 0 runs the command, the others follow it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from hnas.discovery import Registry
from hnas.errors import ConfigError, DataError
from hnas_app.config.changes import NOT_RESULTS
from hnas_app.executors.this_rank import own_accelerator, under_torchrun
from hnas_app.runs.run_dir import RunDir
from hnas_app.usecases.arguments import Caller, Given

if TYPE_CHECKING:
    from hnas_app.config.schema import Config
    from hnas_app.executors.interface import Executor


@contextmanager
def joined(config: Config, command: str, run_dir: Path | None, registry: Registry) -> Iterator[Executor | None]:
    """Yield the group of ranks that this process belongs to, or ``None`` if torchrun did not start it.

    Returns when all ranks have come this far. Raises `ConfigError` for settings that ranks do not support, and if the
    settings of ranks differ, and `DataError` if their data do.
    """
    if not under_torchrun():
        yield None
        return
    from hnas_app.executors.choice import executor
    from hnas_app.executors.rank_group import RankGroup

    refuse_ranks(command)
    if run_dir is None:
        raise ConfigError(
            "under torchrun meta-train needs --run-dir: a rank that is started again must find the checkpoints",
            hint="give --run-dir a folder that all machines see",
        )
    if config.executor.startswith("ray"):
        raise ConfigError("--executor ray and torchrun exclude each other", hint="leave --executor out")
    device = own_accelerator(config.accelerator)
    with RankGroup(executor(config.workers or 1, kind=config.executor), device) as group:
        if not group.agree(_compared(config)):
            raise ConfigError(
                f"rank {group.rank} of {group.ranks} and others have different settings",
                hint="start the same command on every machine, with a --run-dir that all of them see",
            )
        if not group.agree(_classes(config, registry)):
            raise DataError(
                f"rank {group.rank} of {group.ranks} and others have different classes in their data",
                hint="give all machines the same data; --data-root may name another folder on each",
            )
        yield group


def refuse_ranks(command: str) -> None:
    """Raise `ConfigError` if torchrun started a command that is for one process."""
    if under_torchrun() and command != "meta-train":
        raise ConfigError(
            f"torchrun is for meta-train; {command} is one process, which spreads its work itself",
            hint=f"run `hnas {command}` without torchrun, with --executor ray for several machines",
        )


def follow(registry: Registry, given: Given, run_dir: Path | None) -> None:
    """Meta-train as a rank that does not lead: compute with the others; write nothing, print nothing."""
    from hnas_app.runs.learner_check import suited
    from hnas_app.runs.session import setup_of
    from hnas_app.runs.tasks_check import with_record
    from hnas_app.training.meta_train import PHASE, meta_train

    config, _ = suited(Caller(registry=registry).load(given, run_dir=run_dir), registry)
    with joined(config, "meta-train", run_dir, registry) as group:
        assert group is not None
        assert run_dir is not None
        setup = with_record(setup_of(config, registry), RunDir(run_dir), config.tasks.name)
        folder = run_dir / "checkpoints" / PHASE
        meta_train(setup, config.meta_train, group, folder=folder, emit=lambda event: None)


def _classes(config: Config, registry: Registry) -> str:
    """Return the classes that this rank sees, with digests of their content, in few characters."""
    from hnas_app.runs.session import chosen
    from hnas_app.training.setup.classes import classes_of

    classes = classes_of(chosen("tasks", config, registry))
    return hashlib.sha256(json.dumps(classes, sort_keys=True).encode()).hexdigest()


def _compared(config: Config) -> str:
    """Return the settings that results depend on; the data, for example, may be in another folder on each machine."""
    from hnas_app.config.dump import flatten

    return "\n".join(f"{key} = {value!r}" for key, value in flatten(config).items() if key not in NOT_RESULTS)
