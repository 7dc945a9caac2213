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
    ``threads`` and ``processes`` run on this machine. ``ray`` is the cluster that this machine is part of, and
    ``ray://HOST:PORT`` another one. ``notify`` gets a sentence when a worker died. Raises `ConfigError` without Ray.
    """
    if kind.startswith("ray"):
        return RayCluster("auto" if kind == "ray" else kind, workers, notify)
    count = workers or usable_cores()
    if kind == "threads":
        return Threads(count)
    return InProcess() if kind == "local" and count == 1 else LocalProcesses(count, notify)
