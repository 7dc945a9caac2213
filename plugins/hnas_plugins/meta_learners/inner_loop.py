"""The inner loop of MAML: gradient steps on a support set, for one task or for a batch of tasks at once."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import torch
import torch.nn.functional as F
from attrs import frozen
from torch import Tensor

from hnas import Architecture, NormStats, SuperNet
from hnas.supernet import Params


@frozen(kw_only=True, eq=False)
class Network:
    """One sub-network as a function. ``batched``: parameters and images carry a leading task dimension."""

    supernet: SuperNet
    arch: Architecture
    batched: bool

    def __call__(self, params: Params, x: Tensor, stats: NormStats | None = None) -> Tensor:
        """Return logits: (N, n_way), or (T, N, n_way) where batched."""
        forward = self.supernet.forward_tasks if self.batched else self.supernet.forward
        return forward(params, x, self.arch, stats=stats)


@frozen(kw_only=True, eq=False)
class Learned:
    """What the inner loop starts from, sliced for one architecture.

    ``weights`` are adapted; ``norms[step]`` are the batch-normalisation parameters of each step and ``rates`` the
    learning rates, name → (steps,).
    """

    weights: Params
    norms: Sequence[Params]
    rates: Mapping[str, Tensor]

    def for_tasks(self, n_tasks: int) -> Learned:
        """Give every parameter a leading task dimension, without copying."""

        def expand(params: Params) -> Params:
            return {k: v.expand(n_tasks, *v.shape) for k, v in params.items()}

        return Learned(weights=expand(self.weights), norms=[expand(n) for n in self.norms], rates=self.rates)


def unroll(
    network: Network,
    learned: Learned,
    x: Tensor,
    y: Tensor,
    *,
    second_order: bool = False,
    stats: Sequence[NormStats] | None = None,
) -> Iterator[Params]:
    """Yield the adapted weights after each gradient step on the support set ``x``, ``y``.

    What it yields is differentiable; with ``second_order``, through the steps' gradients too. ``stats[step]`` collects
    that step's normalisation statistics.
    """
    weights = learned.weights
    names = tuple(weights)
    for step, norm in enumerate(learned.norms):
        logits = network({**weights, **norm}, x, stats[step] if stats else None)
        loss = task_losses(logits, y).sum()  # tasks are independent: one backward pass serves all
        gradients = torch.autograd.grad(loss, tuple(weights.values()), create_graph=second_order)
        weights = {
            k: w - learned.rates[k][step] * g for k, w, g in zip(names, weights.values(), gradients, strict=True)
        }
        yield weights


def task_losses(logits: Tensor, y: Tensor) -> Tensor:
    """Return the mean cross-entropy of each task, at least in float32: (), or (T,) for logits (T, N, n_way)."""
    logits = logits.float() if logits.dtype is torch.bfloat16 else logits
    if logits.dim() == 2:
        return F.cross_entropy(logits, y)
    losses = F.cross_entropy(logits.flatten(0, 1), y.flatten(), reduction="none")
    return losses.view(y.shape).mean(1)


def task_accuracies(logits: Tensor, y: Tensor) -> Tensor:
    """Return each task's share of right answers: (), or (T,)."""
    return (logits.argmax(-1) == y).float().mean(-1)
