"""Where work runs: in this process, its threads, local worker processes, a Ray cluster, or the ranks of torchrun."""

from __future__ import annotations

from hnas.executor.choice import check_executor, executor
from hnas.executor.deaths import ATTEMPTS
from hnas.executor.environment import ONE_THREAD, WORKER_ENVIRONMENT
from hnas.executor.in_process import InProcess
from hnas.executor.interface import Executor, Work
from hnas.executor.local_processes import LocalProcesses
from hnas.executor.rank_group import RankGroup
from hnas.executor.ray_cluster import RayCluster
from hnas.executor.threads import Threads

__all__ = [
    "ATTEMPTS",
    "ONE_THREAD",
    "WORKER_ENVIRONMENT",
    "Executor",
    "InProcess",
    "LocalProcesses",
    "RankGroup",
    "RayCluster",
    "Threads",
    "Work",
    "check_executor",
    "executor",
]
