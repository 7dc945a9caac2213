"""A set-up that trains in no time, for workers to import."""

from __future__ import annotations

from typing import Any

from hnas.seeds import Seeds
from hnas.testing import TinyTasks
from hnas_app.training.setup.setup import Setup
from hnas_plugins.meta_learners.maml import MAML
from hnas_plugins.meta_learners.options import MAMLPlusPlusOptions
from hnas_plugins.spaces.vgg9 import VGG9, VGG9Options


def tiny_setup(
    seed: int = 0,
    *,
    noise: float = 0.7,
    scale: float = 1.0,
    width: int = 4,
    classifier: str = "own",
    **learner: Any,
) -> Setup:
    """Return a set-up of 3-way 1-shot tasks that trains in a hundredth of a second an iteration.

    ``learner`` are options of MAML++; in its first epoch MSL and DA are on.
    """
    options = {"inner_steps": 2, "meta_lr": 0.01, "msl_epochs": 1, "first_order_epochs": 1, **learner}
    return Setup(
        space=VGG9(VGG9Options(base_width=width, classifier=classifier)),
        learner=MAML(MAMLPlusPlusOptions(**options)),
        tasks=TinyTasks(noise, scale),
        n_way=3,
        k_shot=1,
        seeds=Seeds(seed),
    )
