"""The last phase: accuracy over test tasks, and that of a baseline: nearest class mean on raw pixels."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from hnas.architecture import Architecture, Proposal
from hnas.learner import State
from hnas.task_source import Split
from hnas_app.config.schema import EvaluateConfig
from hnas_app.executors.interface import Executor
from hnas_app.training.accuracy import Accuracy
from hnas_app.training.outer_loop import score_part, score_tasks
from hnas_app.training.proposing import propose
from hnas_app.training.setup.setup import Setup, to_workers

if TYPE_CHECKING:
    from torch import Tensor

    from hnas.episode import Episodes

PURPOSE = "test-tasks"
"""The stream of test tasks; the same for every network of a run."""
AT_ONCE = 10
"""Tasks of the baseline at once: 50 of 84×84 took 2.3 GB in distances and copies."""


def evaluate(setup: Setup, state: State, arch: Architecture, config: EvaluateConfig, executor: Executor) -> Accuracy:
    """Adapt ``arch`` to each test task from ``state`` and return its accuracy on the query images."""
    return Accuracy.over(task_accuracies(setup, state, arch, config, executor))


def task_accuracies(
    setup: Setup, state: State, arch: Architecture, config: EvaluateConfig, executor: Executor
) -> list[float]:
    """Adapt ``arch`` to each test task from ``state`` and return its accuracies (0–1), one for each task."""
    setup.send(executor)
    return score_tasks(executor, state, arch, "test", PURPOSE, config.tasks, config.n_query)[1]


def evaluate_per_task(
    setup: Setup,
    state: State,
    fitted: Callable[[Proposal, int], Architecture],
    config: EvaluateConfig,
    executor: Executor,
) -> tuple[list[Architecture], list[Architecture], list[float]]:
    """Adapt each test task with the architecture that the learner proposes for it; return accuracy on query images.

    ``fitted`` returns what takes the place of the proposal for a task, so that limits are kept. Also returns, for each
    task, the proposal and the architecture used.
    """
    setup.send(executor)
    executor.put(scored=to_workers(state))
    tasks = range(config.tasks)
    proposals = propose(executor, "test", PURPOSE, tasks, config.n_query)
    used = [fitted(proposal, task) for task, proposal in enumerate(proposals)]
    items = [(arch, "test", PURPOSE, [task], config.n_query) for task, arch in enumerate(used)]
    return (
        [proposal.arch for proposal in proposals],
        used,
        [x for _, found in executor.map(score_part, items) for x in found],
    )


def baseline_accuracies(setup: Setup, config: EvaluateConfig) -> tuple[list[float], str]:
    """Return the accuracy of the nearest class mean on each test task, and a digest of the tasks.

    The digest is of the labelled images and the number of query images: runs whose digests are equal were tested on the
    same tasks, whatever their settings are.
    """
    accuracies, seen = list[float](), hashlib.sha256(f"{config.tasks} tasks, {config.n_query} queries".encode())
    for episodes in _in_parts(setup, "test", PURPOSE, config.tasks, config.n_query):
        accuracies += nearest_class_mean(episodes).tolist()
        seen.update(f"{tuple(episodes.support_x.shape[1:])}".encode())
        seen.update(episodes.support_x.cpu().contiguous().numpy().tobytes())
    return accuracies, seen.hexdigest()[:32]


def class_mean_accuracies(setup: Setup, split: Split, purpose: str, n_tasks: int, n_query: int) -> list[float]:
    """Return the accuracy of the nearest class mean on each of the first ``n_tasks`` tasks of a stream."""
    parts = _in_parts(setup, split, purpose, n_tasks, n_query)
    return [accuracy for episodes in parts for accuracy in nearest_class_mean(episodes).tolist()]


def _in_parts(setup: Setup, split: Split, purpose: str, n_tasks: int, n_query: int) -> Iterator[Episodes]:
    for first in range(0, n_tasks, AT_ONCE):
        yield setup.episodes(split, purpose, range(first, min(first + AT_ONCE, n_tasks)), n_query)


def nearest_class_mean(episodes: Episodes) -> Tensor:
    """Return the accuracy (0–1) on each task of giving a query image the class whose mean support image is nearest.

    Distance is Euclidean over raw pixels; nothing is learnt. The result has shape (T,).
    """
    import torch
    import torch.nn.functional as F

    support, query = episodes.support_x.flatten(2), episodes.query_x.flatten(2)  # (T, n, C*H*W)
    n_way = int(episodes.support_y.max()) + 1
    member = F.one_hot(episodes.support_y, n_way).to(support.dtype)  # (T, n, way)
    means = member.transpose(1, 2) @ support / member.sum(1).unsqueeze(-1)  # (T, way, C*H*W)
    predicted = torch.cdist(query, means).argmin(-1)
    return (predicted == episodes.query_y).to(torch.float32).mean(-1)
