"""The last phase: accuracy over test tasks, and that of a baseline: nearest class mean on raw pixels."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from hnas.architecture import Architecture
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
    setup.send(executor)
    _, accuracies = score_tasks(executor, state, arch, "test", PURPOSE, config.tasks, config.n_query)
    return Accuracy.over(accuracies)


def evaluate_per_task(
    setup: Setup,
    state: State,
    fitted: Callable[[Architecture, int], Architecture],
    config: EvaluateConfig,
    executor: Executor,
) -> tuple[list[Architecture], list[Architecture], Accuracy]:
    """Adapt each test task with the architecture that the learner proposes for it; return accuracy on query images.

    ``fitted`` returns what takes the place of the proposal for a task, so that limits are kept. Also returns, for each
    task, the proposal and the architecture used.
    """
    setup.send(executor)
    executor.put(scored=to_workers(state))
    tasks = range(config.tasks)
    proposals = propose(executor, "test", PURPOSE, tasks, config.n_query)
    used = [fitted(arch, task) for task, arch in enumerate(proposals)]
    items = [(arch, "test", PURPOSE, [task], config.n_query) for task, arch in enumerate(used)]
    accuracies = [x for _, found in executor.map(score_part, items) for x in found]
    return proposals, used, Accuracy.over(accuracies)


def evaluate_baseline(setup: Setup, config: EvaluateConfig) -> Accuracy:
    """Return the accuracy of the nearest class mean on raw pixels, over the same test tasks."""
    return Accuracy.over(class_mean_accuracies(setup, "test", PURPOSE, config.tasks, config.n_query))


def class_mean_accuracies(setup: Setup, split: Split, purpose: str, n_tasks: int, n_query: int) -> list[float]:
    """Return the accuracy of the nearest class mean on each of the first ``n_tasks`` tasks of a stream."""
    accuracies: list[float] = []
    for first in range(0, n_tasks, AT_ONCE):
        part = range(first, min(first + AT_ONCE, n_tasks))
        accuracies += nearest_class_mean(setup.episodes(split, purpose, part, n_query)).tolist()
    return accuracies


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
