"""Siamese networks: pairs of images are of one class or not, and a task is answered by its best match."""

from __future__ import annotations

import torch
from attrs import frozen
from torch import Tensor
from torch.nn.functional import softplus

from hnas import MetaLearner
from hnas.supernet import Params
from hnas_plugins.metric_learners.comparing import Comparing
from hnas_plugins.metric_learners.options import ComparingOptions
from hnas_plugins.metric_learners.rule import Rule, Size

START = 4.0
"""The start of the weights: minus this, over the number of features. The paper draws them; it has no bias."""


@frozen
class Twins(Rule):
    """The logit of a pair is a weighted component-wise L1 distance and a bias (Koch, Zemel and Salakhutdinov, 2015).

    It is trained on all pairs of a query and a support image. As in the paper's batches, pairs of one class and those
    of two classes count alike.
    """

    def init(self, size: Size, generator: torch.Generator) -> Params:
        return {"weight": torch.full(size, -START / (size[0] * size[1])), "bias": torch.tensor([START / 2])}

    def own(self, params: Params, size: Size) -> Params:
        return params | {"weight": params["weight"][: size[0], : size[1]]}

    def keep(self, own: Params, support: Tensor) -> Tensor:
        return support  # (T, n_way, k_shot, C, P)

    def logits(self, own: Params, kept: Tensor, x: Tensor) -> Tensor:
        return self._pairs(own, kept, x).amax(-1)

    def losses(self, own: Params, kept: Tensor, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """Return the binary cross-entropy of pairs, and the logits of the best matches."""
        pairs = self._pairs(own, kept, x)  # (T, N, n_way, k_shot)
        same = y[..., None] == torch.arange(pairs.shape[2], device=y.device)
        sign = torch.where(same, -1.0, 1.0)[..., None]
        share = torch.where(same, 1.0, 1 / max(pairs.shape[2] - 1, 1))[..., None] / 2
        losses = (share * softplus(sign * pairs)).sum(2).mean((1, 2))
        return pairs.amax(-1), losses

    def _pairs(self, own: Params, kept: Tensor, x: Tensor) -> Tensor:
        shots = kept.flatten(1, 2)
        distances = (x[:, :, None] - shots[:, None]).abs().flatten(3)  # (T, N, n_way * k_shot, D)
        found = (distances @ own["weight"].flatten(1)[:, None, :, None])[..., 0] + own["bias"][:, None]
        return found.view(*x.shape[:2], *kept.shape[1:3])

    def macs(self, size: Size, n_way: int, k_shot: int) -> int:
        return n_way * k_shot * size[0] * size[1]

    def stored(self, size: Size, n_way: int, k_shot: int) -> int:
        return (n_way * k_shot + 1) * size[0] * size[1] + 1


def siamese(options: ComparingOptions) -> MetaLearner:
    """Make the learner."""
    return Comparing(options, Twins())
