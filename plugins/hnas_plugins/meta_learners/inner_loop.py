"""The inner loop of MAML: gradient steps on a support set, for one task or for a batch of tasks at once."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import torch
from attrs import frozen
from torch import Tensor

from hnas import NormStats
from hnas.supernet import Params
from hnas.toolkit.learning import task_losses


@frozen(kw_only=True)
class Update:
    """How an inner loop changes weights: once at its start, and in each step."""

    step: Callable[[int, Params, Params], Params]
    """(number of the step, weights, gradients) → weights."""
    start: Callable[[Params, Callable[[], Params]], Params] = lambda weights, gradients: weights
    """(weights, a function that returns the gradients at them) → weights that the first step starts from."""
    images: Callable[[int, Tensor, Tensor], tuple[Tensor, Tensor]] = lambda step, x, y: (x, y)
    """(number of the step, support images, labels) → those of them that the step descends on."""


def for_tasks(params: Params, n_tasks: int) -> Params:
    """Give every parameter a leading task dimension, without copying."""
    return {k: v.expand(n_tasks, *v.shape) for k, v in params.items()}


def unroll(
    network: Callable[..., Tensor],
    weights: Params,
    norms: Sequence[Params],
    update: Update,
    x: Tensor,
    y: Tensor,
    *,
    second_order: bool,
    stats: Sequence[NormStats] | None,
) -> Iterator[Params]:
    """Yield the adapted weights after each gradient step on the support set ``x``, ``y``.

    ``network`` is a pass of one sub-network: (parameters, images, stats=…) → logits. ``norms[step]`` are the parameters
    of each step that are not adapted, those of the batch normalisations for example. The yielded weights are
    differentiable; with ``second_order``, through the steps' gradients too. ``stats[step]`` collects that step's
    normalisation statistics, or gives those to use.
    """

    def gradients(step: int, norm: Params, given: NormStats | None) -> Params:
        images, labels = update.images(step, x, y)
        logits = network({**weights, **norm}, images, stats=given)
        loss = task_losses(logits, labels).sum()  # tasks are independent: one backward pass serves all
        found = torch.autograd.grad(loss, tuple(weights.values()), create_graph=second_order)
        return dict(zip(weights, found, strict=True))

    first = stats[0] if stats and stats[0].mode == "apply" else None  # what is collected there is of the first step
    weights = update.start(weights, lambda: gradients(0, norms[0], first))
    for step, norm in enumerate(norms):
        weights = update.step(step, weights, gradients(step, norm, stats[step] if stats else None))
        yield weights
