"""The number of adaption steps that suits a task of the user's own, by its held-out pictures."""

from __future__ import annotations

import attrs

from hnas.architecture import Architecture
from hnas.errors import short
from hnas.learner import MetaLearner, State
from hnas.toolkit.pictures import PictureTask
from hnas_app.executors.plugin_exit import wrong
from hnas_app.own_task.folds import episodes, folds
from hnas_app.training.fixed_norm import FixedNorm
from hnas_app.training.setup.setup import Setup

STEPS = (1, 2, 3, 5, 8, 12, 20, 30)
"""The numbers that are tried besides the learner's own."""


def tuned(setup: Setup, state: State, arch: Architecture, task: PictureTask) -> tuple[Setup, int | None]:
    """Return the set-up whose learner adapts ``arch`` best, and the number of its steps if it is not the learner's own.

    They are compared by the loss on held-out pictures, in the folds of `folds`. Without those, or if the learner has no
    steps, the learner stays as it is.
    """
    if task.k_shot == 1:
        return setup, None
    tasks = episodes(task, folds(task.shots)).to(setup.accelerator)

    def loss(learner: MetaLearner) -> float:
        return float(FixedNorm(learner).score(setup.supernet, state, tasks, arch).loss.mean())

    best, found, lowest = setup.learner, None, loss(setup.learner)
    for steps in STEPS:
        learner = setup.learner.with_steps(steps)
        if learner is None:
            break
        if not isinstance(learner, MetaLearner):
            raise wrong(setup.learner, "with_steps", short(learner), "a MetaLearner or None")
        if (own := loss(learner)) < lowest:
            best, found, lowest = learner, steps, own
    return (setup if found is None else attrs.evolve(setup, learner=best)), found
