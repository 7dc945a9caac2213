"""The last phase: accuracy over test tasks, with its confidence interval."""

from __future__ import annotations

from hnas.architecture import Architecture
from hnas.learner import State
from hnas_app.config.schema import EvaluateConfig
from hnas_app.executors.interface import Executor
from hnas_app.training.accuracy import Accuracy
from hnas_app.training.baseline import nearest_class_mean
from hnas_app.training.outer_loop import score_tasks
from hnas_app.training.setup.setup import Setup

PURPOSE = "test-tasks"
"""The stream of test tasks; the same for every network of a run."""


def evaluate(setup: Setup, state: State, arch: Architecture, config: EvaluateConfig, executor: Executor) -> Accuracy:
    """Adapt ``arch`` to each test task from ``state`` and return its accuracy on the query images."""
    setup.send(executor)
    _, accuracies = score_tasks(executor, state, arch, "test", PURPOSE, config.tasks, config.n_query)
    return Accuracy.over(accuracies)


def evaluate_baseline(setup: Setup, config: EvaluateConfig) -> Accuracy:
    """Return the accuracy of the nearest class mean on raw pixels, over the same test tasks."""
    accuracies: list[float] = []
    for first in range(0, config.tasks, 50):
        part = range(first, min(first + 50, config.tasks))
        accuracies += nearest_class_mean(setup.episodes("test", PURPOSE, part, config.n_query)).tolist()
    return Accuracy.over(accuracies)
