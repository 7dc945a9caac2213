"""The inner loop of MAML: gradient steps on a support set, for one task or for a batch of tasks at once."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

import torch
from torch import Tensor

from hnas import NormStats
from hnas.supernet import Params
from hnas.toolkit.learning import task_losses


def for_tasks(params: Params, n_tasks: int) -> Params:
    """Give every parameter a leading task dimension, without copying."""
    return {k: v.expand(n_tasks, *v.shape) for k, v in params.items()}


def unroll(
    network: Callable[..., Tensor],
    weights: Params,
    norms: Sequence[Params],
    rates: Mapping[str, Tensor],
    x: Tensor,
    y: Tensor,
    *,
    second_order: bool,
    stats: Sequence[NormStats] | None,
) -> Iterator[Params]:
    """Yield the adapted weights after each gradient step on the support set ``x``, ``y``.

    ``network`` is a pass of one sub-network: (parameters, images, stats=…) → logits. ``norms[step]`` are the
    batch-normalisation parameters of each step and ``rates`` the learning rates, name → (steps,). The yielded weights
    are differentiable; with ``second_order``, through the steps' gradients too. ``stats[step]`` collects that step's
    normalisation statistics.
    """
    names = tuple(weights)
    for step, norm in enumerate(norms):
        logits = network({**weights, **norm}, x, stats=stats[step] if stats else None)
        loss = task_losses(logits, y).sum()  # tasks are independent: one backward pass serves all
        gradients = torch.autograd.grad(loss, tuple(weights.values()), create_graph=second_order)
        weights = {k: w - rates[k][step] * g for k, w, g in zip(names, weights.values(), gradients, strict=True)}
        yield weights
