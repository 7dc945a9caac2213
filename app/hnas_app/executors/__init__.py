"""Where work runs: in this process, its threads, local worker processes, a Ray cluster, or the ranks of torchrun."""

from __future__ import annotations

from hnas_app.executors.choice import check_executor, executor
from hnas_app.executors.deaths import ATTEMPTS
from hnas_app.executors.environment import ONE_THREAD, WORKER_ENVIRONMENT
from hnas_app.executors.in_process import InProcess
from hnas_app.executors.interface import Executor, Work
from hnas_app.executors.local_processes import LocalProcesses
from hnas_app.executors.rank_group import RankGroup
from hnas_app.executors.ray_cluster import RayCluster
from hnas_app.executors.threads import Threads

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
