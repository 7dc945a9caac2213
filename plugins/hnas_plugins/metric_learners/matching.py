"""Matching networks: attention over the support images."""

from __future__ import annotations

from attrs import frozen
from torch import Tensor
from torch.nn.functional import normalize

from hnas import MetaLearner
from hnas.settings import positive, setting
from hnas.supernet import Params
from hnas_plugins.metric_learners.comparing import Comparing
from hnas_plugins.metric_learners.options import ComparingOptions
from hnas_plugins.metric_learners.rule import Rule, Size


@frozen(kw_only=True)
class MatchingOptions(ComparingOptions):
    """Options of matching networks. Full context embeddings, the paper's recurrent networks, are left out."""

    scale: float = setting(10.0, "factor of the cosine similarities; the paper's is 1, which trains slowly", positive)


@frozen
class Attention(Rule):
    """A softmax of cosine similarities over all support images, summed by class (Vinyals et al., NeurIPS 2016)."""

    batched = True
    scale: float

    def keep(self, own: Params, support: Tensor) -> Tensor:
        return normalize(support.flatten(3), dim=-1)  # (T, n_way, k_shot, D)

    def logits(self, own: Params, kept: Tensor, x: Tensor) -> Tensor:
        """Return the logarithm of each class's sum, without the divisor, which is the same for all classes."""
        cosines = normalize(x.flatten(2), dim=-1) @ kept.flatten(1, 2).transpose(1, 2)
        return (self.scale * cosines).view(*x.shape[:2], *kept.shape[1:3]).logsumexp(-1)

    def macs(self, size: Size, n_way: int, k_shot: int) -> int:
        return self.stored(size, n_way, k_shot)

    def stored(self, size: Size, n_way: int, k_shot: int) -> int:
        return n_way * k_shot * size[0] * size[1]


def matching(options: MatchingOptions) -> MetaLearner:
    """Make the learner."""
    return Comparing(options, Attention(options.scale))
