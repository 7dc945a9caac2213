"""The executor that a configuration names."""

from __future__ import annotations

from collections.abc import Callable

from hnas.errors import ConfigError
from hnas.toolkit.cores import usable_cores
from hnas_app.executors.in_process import InProcess
from hnas_app.executors.interface import Executor
from hnas_app.executors.local_processes import LocalProcesses
from hnas_app.executors.ray_cluster import RayCluster, imported
from hnas_app.executors.threads import Threads

MOST_PER_CORE = 4
"""Workers on this machine for each core. One keeps a core busy, and a few help when tasks are read from a slow disk;
each further one only takes memory, some hundred megabytes. Workers on Ray are elsewhere, and have no bound."""


def check_executor(kind: str, accelerator: str) -> None:
    """Raise `ConfigError` if a kind of executor is not available here, or not with an accelerator."""
    if kind.startswith("ray"):
        if accelerator != "cpu":
            raise ConfigError(
                f"executor is {kind!r} and accelerator {accelerator!r}, but Ray workers compute on CPUs",
                hint="leave one of them out; several GPUs train with `torchrun --nproc-per-node N -m hnas meta-train`",
            )
        imported()


def executor(workers: int, notify: Callable[[str], None] | None = None, kind: str = "local") -> Executor:
    """Return the executor of a kind; with 0 workers it has one per usable core, on Ray one per CPU of the cluster.

    ``local`` is this process for one worker, else local processes: they share no interpreter, and one may die.
    ``threads`` and ``processes`` run on this machine, at most `MOST_PER_CORE`. ``ray`` is the cluster that this machine
    is part of, and ``ray://HOST:PORT`` another one. ``notify`` gets a sentence when fewer are started, or one died.
    Raises `ConfigError` without Ray.
    """
    if kind.startswith("ray"):
        return RayCluster("auto" if kind == "ray" else kind, workers, notify)
    cores = usable_cores()
    count = min(workers or cores, MOST_PER_CORE * cores)
    if count < workers and notify:
        notify(
            f"workers is {workers}, but this machine gives {cores} cores: {count} are started, {MOST_PER_CORE} a core"
        )
    if kind == "threads":
        return Threads(count)
    return InProcess() if kind == "local" and count == 1 else LocalProcesses(count, notify)
