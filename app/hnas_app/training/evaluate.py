"""The last phase: accuracy over test tasks, and that of a baseline: nearest class mean on raw pixels."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hnas.architecture import Architecture
from hnas.learner import State
from hnas_app.config.schema import EvaluateConfig
from hnas_app.executors.interface import Executor
from hnas_app.training.accuracy import Accuracy
from hnas_app.training.outer_loop import score_tasks
from hnas_app.training.setup.setup import Setup

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


def evaluate_baseline(setup: Setup, config: EvaluateConfig) -> Accuracy:
    """Return the accuracy of the nearest class mean on raw pixels, over the same test tasks."""
    accuracies: list[float] = []
    for first in range(0, config.tasks, AT_ONCE):
        part = range(first, min(first + AT_ONCE, config.tasks))
        accuracies += nearest_class_mean(setup.episodes("test", PURPOSE, part, config.n_query)).tolist()
    return Accuracy.over(accuracies)


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
