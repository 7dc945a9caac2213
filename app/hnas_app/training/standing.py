"""Whether a super-net can be trusted: what was chosen by its scores, against what needs no search."""

from __future__ import annotations

import math

from attrs import frozen

from hnas.architecture import Architecture
from hnas.learner import State
from hnas_app.executors.interface import Executor
from hnas_app.training.accuracy import Accuracy
from hnas_app.training.evaluate import class_mean_accuracies
from hnas_app.training.outer_loop import score_tasks
from hnas_app.training.setup.setup import Setup

PURPOSE = "standing-tasks"
"""The stream of validation tasks, which no search has seen: those of a search flatter what it chose."""


@frozen(kw_only=True)
class Standing:
    """The chosen network with the super-net's weights, on validation tasks that chose nothing."""

    accuracy: float
    """Its mean accuracy (0–1)."""
    class_mean: float
    """That of the nearest class mean on raw pixels."""
    over_class_mean: Accuracy
    """By how much its accuracy is higher: the mean difference over the tasks, and its interval."""
    over_scaled: Accuracy | None = None
    """By how much its loss (nats) is lower than that of the scaled reference network, likewise.

    ``None`` if there is no such network, if it was chosen itself, or if a loss is infinite.
    """

    def __str__(self) -> str:
        return (
            f"{100 * self.accuracy:.1f} % on validation tasks, the nearest class mean of raw pixels "
            f"{100 * self.class_mean:.1f} % (difference {self.over_class_mean})"
        )

    @property
    def doubts(self) -> tuple[str, ...]:
        """Why the scores should not be trusted, a sentence for each reason."""
        found = []
        if not _is_clear(self.over_class_mean):
            found.append(
                f"the super-net is too young: the network that it ranks first has {self}, so its scores hardly show "
                "which network is good; train it for longer (meta_train.epochs)"
            )
        if self.over_scaled is not None and not _is_clear(self.over_scaled):
            found.append(
                "the super-net's scores do not tell the network that it ranks first from the reference network "
                f"scaled to the same limits (loss lower by {self.over_scaled.mean:.3f} ± "
                f"{self.over_scaled.half_width or 0:.3f})"
            )
        return tuple(found)


def _is_clear(gain: Accuracy) -> bool:
    return gain.lower is not None and gain.lower > 0


def standing(
    setup: Setup,
    state: State,
    chosen: Architecture,
    scaled: Architecture | None,
    executor: Executor,
    *,
    n_tasks: int,
    n_query: int,
) -> Standing:
    """Score the chosen network, and the scaled reference network if there is one, with the super-net's weights."""
    setup.send(executor)

    def scores(arch: Architecture) -> tuple[list[float], list[float]]:
        return score_tasks(executor, state, arch, "validation", PURPOSE, n_tasks, n_query)

    losses, accuracies = scores(chosen)
    class_means = class_mean_accuracies(setup, "validation", PURPOSE, n_tasks, n_query)
    over_scaled = None
    if scaled is not None and scaled != chosen:
        gains = [s - own for s, own in zip(scores(scaled)[0], losses, strict=True)]
        over_scaled = Accuracy.over(gains) if all(map(math.isfinite, gains)) else None
    return Standing(
        accuracy=sum(accuracies) / n_tasks,
        class_mean=sum(class_means) / n_tasks,
        over_class_mean=Accuracy.over([a - b for a, b in zip(accuracies, class_means, strict=True)]),
        over_scaled=over_scaled,
    )
