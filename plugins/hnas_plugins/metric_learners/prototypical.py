"""Prototypical networks: images belong to the class whose mean of features is nearest."""

from __future__ import annotations

from attrs import frozen
from torch import Tensor

from hnas import MetaLearner
from hnas.supernet import Params
from hnas_plugins.metric_learners.comparing import Comparing
from hnas_plugins.metric_learners.options import ComparingOptions
from hnas_plugins.metric_learners.rule import Rule, Size


@frozen
class Prototypes(Rule):
    """A softmax over minus the squared distances to the means (Snell, Swersky and Zemel, NeurIPS 2017)."""

    batched = True

    def keep(self, own: Params, support: Tensor) -> Tensor:
        return support.mean(2).flatten(2)  # (T, n_way, D)

    def logits(self, own: Params, kept: Tensor, x: Tensor) -> Tensor:
        """Leave out the part of the distances that is the same for all classes of an image: a linear layer is left."""
        return 2 * x.flatten(2) @ kept.transpose(1, 2) - kept.square().sum(-1)[:, None]

    def macs(self, size: Size, n_way: int, k_shot: int) -> int:
        return n_way * size[0] * size[1]

    def stored(self, size: Size, n_way: int, k_shot: int) -> int:
        return n_way * size[0] * size[1]


def prototypical(options: ComparingOptions) -> MetaLearner:
    """Make the learner."""
    return Comparing(options, Prototypes())
