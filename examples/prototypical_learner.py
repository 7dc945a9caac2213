"""A meta-learner without a classifier: images belong to the class whose mean of features is nearest.

hnas run --preset quick --learner ./examples/prototypical_learner.py:Prototypical --set meta_train.n_way=20
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

from attrs import frozen

from hnas import Architecture, Episodes, Inference, Layer, MetaLearner, Progress, Scores, SuperNet
from hnas.learner import Gradient, State
from hnas.settings import positive, setting
from hnas.supernet import NormStats, Params

if TYPE_CHECKING:
    import torch
    from torch import Tensor


class Prototypical(MetaLearner):
    """Prototypical networks (Snell, Swersky and Zemel, NeurIPS 2017), with plain gradient descent."""

    any_n_way = True  # a task's classes are its means, however many
    needs_features = True  # a space whose super-net does not name its classifier is refused
    support_scores = False  # a support image is part of the mean that it is compared with

    @frozen(kw_only=True)
    class Options:
        """Options for ``--set learner.KEY=VALUE`` and the table ``[learner]``."""

        meta_lr: float = setting(0.02, "learning rate; falls to 0", positive, after_training=True)

    def __init__(self, options: Options) -> None:
        self._options = options

    def init(self, supernet: SuperNet, generator: torch.Generator) -> State:
        """Only the super-net's own parameters are learnt; those of its classifier stay as they are."""
        return {f"params/{name}": value for name, value in supernet.init(generator).items()}

    def gradient(
        self, supernet: SuperNet, state: State, episodes: Episodes, arch: Architecture, progress: Progress
    ) -> tuple[Gradient, Scores]:
        import torch

        leaves = {name: state[f"params/{name}"].detach().requires_grad_() for name in supernet.roles}
        adapted = self._adapted(supernet, leaves, episodes, arch)
        loss, accuracy = _scores(self.logits(supernet, adapted, episodes.query_x, arch), episodes.query_y)
        found = torch.autograd.grad(loss.sum(), list(leaves.values()), allow_unused=True)
        gradient = {f"params/{name}": g for name, g in zip(leaves, found, strict=True) if g is not None}
        return gradient, Scores(loss=loss.detach(), accuracy=accuracy)

    def update(self, state: State, gradient: Gradient, n_tasks: int, progress: Progress) -> None:
        rate = self._options.meta_lr * progress.rate_factor * (1 - progress.iteration / progress.total)
        for name, summed in gradient.items():
            state[name] -= rate / n_tasks * summed

    def adapt(self, supernet: SuperNet, state: State, episodes: Episodes, arch: Architecture) -> Params:
        """Add the means of the support images' features to the weights, which are the same for every task."""
        import torch

        with torch.no_grad():
            return self._adapted(supernet, {n: state[f"params/{n}"] for n in supernet.roles}, episodes, arch)

    def logits(
        self, supernet: SuperNet, adapted: Params, x: Tensor, arch: Architecture, *, stats: NormStats | None = None
    ) -> Tensor:
        """Compare by the squared distance, without the part that is the same for all classes of an image."""
        shared = {name: value for name, value in adapted.items() if name != "prototypes"}
        features, means = supernet.features(shared, x, arch, stats=stats).flatten(2), adapted["prototypes"]
        return 2 * features @ means.transpose(1, 2) - (means**2).sum(-1)[:, None]

    def inference(self, layers: Sequence[Layer], n_way: int, k_shot: int) -> Inference:
        """The comparison with the means takes as much as the classifier, so a prediction is one pass."""
        return Inference(stored=4 * n_way * layers[-1].in_shape[0])

    def score(
        self,
        supernet: SuperNet,
        state: State,
        episodes: Episodes,
        arch: Architecture,
        *,
        on: Literal["query", "support"] = "query",
    ) -> Scores:
        import torch

        adapted = self.adapt(supernet, state, episodes, arch)
        with torch.no_grad():
            loss, accuracy = _scores(self.logits(supernet, adapted, episodes.query_x, arch), episodes.query_y)
        return Scores(loss=loss.where(loss.isfinite(), torch.inf), accuracy=accuracy)

    def _adapted(self, supernet: SuperNet, params: Params, episodes: Episodes, arch: Architecture) -> Params:
        shared = supernet.share(params, arch)
        weights = {name: value.expand(len(episodes), *value.shape) for name, value in shared.items()}
        features = supernet.features(weights, episodes.support_x, arch).flatten(2)  # (T, n_way*k_shot, D)
        n_way = int(episodes.support_y.max()) + 1
        return weights | {"prototypes": features.unflatten(1, (n_way, -1)).mean(2)}  # labels stand class by class


def _scores(logits: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Return loss and accuracy of each task."""
    from torch.nn.functional import cross_entropy

    loss = cross_entropy(logits.flatten(0, 1), y.flatten(), reduction="none").view(y.shape).mean(1)
    return loss, (logits.argmax(-1) == y).float().mean(1)
