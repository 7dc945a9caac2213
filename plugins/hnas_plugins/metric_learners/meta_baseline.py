"""Meta-Baseline: first a classifier of all training classes, then the nearest centroid by cosine."""

from __future__ import annotations

import math

import attrs
import torch
from attrs import frozen
from torch import Tensor
from torch.nn.functional import normalize

from hnas import Architecture, Episodes, MetaLearner, Progress, SuperNet
from hnas.learner import Gradient, State
from hnas.settings import fraction, positive, setting
from hnas.supernet import Params
from hnas.toolkit.learning import adam_state, task_losses
from hnas_plugins.metric_learners.comparing import OWN, Comparing
from hnas_plugins.metric_learners.options import ComparingOptions
from hnas_plugins.metric_learners.rule import Rule, Size

FIRST = "outer/first/"
"""Names, in the state, of the weights as the first stage left them."""
MOMENTUM = 0.9


@frozen(kw_only=True)
class MetaBaselineOptions(ComparingOptions):
    """Options of Meta-Baseline (Chen et al., ICCV 2021)."""

    pretrain: float = setting(0.5, "share of the training that classifies all training classes", fraction)
    pretrain_lr: float = setting(0.1, "rate of that part, by gradient descent with momentum", positive)
    temperature: float = setting(10.0, "factor of the cosine similarities; learnt from there on", positive)


@frozen
class Centroids(Rule):
    """A softmax over the cosine similarities to the means of the classes, times a learned temperature."""

    batched = True
    temperature: float

    def init(self, size: Size, generator: torch.Generator) -> Params:
        return {"temperature": torch.tensor([self.temperature])}

    def keep(self, own: Params, support: Tensor) -> Tensor:
        return normalize(support.mean(2).flatten(2), dim=-1)  # (T, n_way, D)

    def logits(self, own: Params, kept: Tensor, x: Tensor) -> Tensor:
        return own["temperature"][:, None] * (normalize(x.flatten(2), dim=-1) @ kept.transpose(1, 2))

    def macs(self, size: Size, n_way: int, k_shot: int) -> int:
        return n_way * size[0] * size[1]

    def stored(self, size: Size, n_way: int, k_shot: int) -> int:
        return n_way * size[0] * size[1] + 1


class MetaBaseline(Comparing):
    """Trains in two stages; the weights that the first one leaves stay in the state, under ``outer/first/``.

    The paper draws batches of all training classes for the first stage; here they are the images of tasks.
    """

    needs_classes = True

    def __init__(self, options: MetaBaselineOptions) -> None:
        super().__init__(options, Centroids(options.temperature))
        self._pretrain, self._pretrain_lr = options.pretrain, options.pretrain_lr

    def init(self, supernet: SuperNet, generator: torch.Generator) -> State:
        state = super().init(supernet, generator)
        return state | {FIRST + k: v.clone() for k, v in state.items() if k.startswith("params/")}

    def update(self, state: State, gradient: Gradient, n_tasks: int, progress: Progress) -> None:
        if not self._is_first(progress):
            if self._is_first(attrs.evolve(progress, iteration=progress.iteration - 1)):
                state |= adam_state(state, [k for k in state if not k.startswith("outer/")])
            return super().update(state, gradient, n_tasks, progress)
        # As the authors do. Adam would make large steps of the small gradients of all classes that a batch lacks: with
        # thousands of classes the features vanish.
        for name in [k for k in gradient if k.startswith("params/")]:
            mean, clamp = state[f"outer/mean/{name}"], self._options.gradient_clamp or math.inf
            mean.mul_(MOMENTUM).add_((gradient[name].to(mean.dtype) / n_tasks).clamp(-clamp, clamp))
            state[name].sub_(mean, alpha=self._pretrain_lr)
            state[f"{FIRST}{name}"].copy_(state[name])

    def _losses(
        self, supernet: SuperNet, weights: Params, tasks: Episodes, arch: Architecture, progress: Progress
    ) -> tuple[Tensor, Tensor, Tensor]:
        if not self._is_first(progress):
            return super()._losses(supernet, weights, tasks, arch, progress)
        assert tasks.classes is not None  # `needs_classes`
        x, y = torch.cat([tasks.support_x, tasks.query_x], 1), torch.cat([tasks.support_y, tasks.query_y], 1)
        shared = {k: v for k, v in weights.items() if not k.startswith(OWN)}
        logits, ids = supernet.forward_tasks(shared, x, arch), tasks.classes.gather(1, y)
        return logits, task_losses(logits, ids), ids

    def _is_first(self, progress: Progress) -> bool:
        return progress.iteration < self._pretrain * progress.total


def meta_baseline(options: MetaBaselineOptions) -> MetaLearner:
    """Make the learner."""
    return MetaBaseline(options)
