"""Options that all learners have that compare features: those of the outer loop."""

from __future__ import annotations

from functools import partial
from typing import Literal

from attrs import frozen

from hnas.settings import at_least_0, one_of, positive, setting

_later = partial(setting, after_training=True)


@frozen(kw_only=True)
class ComparingOptions:
    """Adam with a rate that falls along half a cosine, as MAML++ has it, and what devices keep."""

    meta_lr: float = _later(1e-3, "learning rate (Adam)", positive, most=1000)
    meta_lr_end: float = _later(1e-5, "where cosine annealing ends", at_least_0, most=1000)
    gradient_clamp: float = _later(0.0, "clamp each component of the gradient to this; 0: not at all", at_least_0)
    keep: Literal["features", "images"] = _later(
        "features",
        "what a device keeps of a task, for costs: features, or the images, which pass again with every prediction",
        one_of("features", "images"),
    )
    batch_below_gflop: float = _later(
        0.3, "compute tasks as one batch if the support images of one take less than this (on a CPU)", at_least_0
    )
