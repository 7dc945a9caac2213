"""What learners and super-nets share: scores of tasks, Adam over a learner's state, and batch normalisation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.optim.adam import adam

from hnas.learner import Gradient, Scores, State
from hnas.supernet import NormStats, Params

ROUNDS = 1.5 * 2.0 ** (52 - 40)
"""A float64 between 2¹² and 2¹³, whose last bit is 2⁻⁴⁰: what is added to it is rounded to that."""

_ADAM: dict[str, Any] = dict(beta1=0.9, beta2=0.999, eps=1e-8, weight_decay=0.0, amsgrad=False, maximize=False)


def task_losses(logits: Tensor, y: Tensor) -> Tensor:
    """Return the mean cross-entropy of each task, at least in float32: (), or (T,) for logits (T, N, n_way)."""
    logits = logits.float() if logits.dtype is torch.bfloat16 else logits
    if logits.dim() == 2:
        return F.cross_entropy(logits, y)
    losses = F.cross_entropy(logits.flatten(0, 1), y.flatten(), reduction="none")
    return losses.view(y.shape).mean(1)


def task_accuracies(logits: Tensor, y: Tensor) -> Tensor:
    """Return each task's share of right answers: (), or (T,) for logits (T, N, n_way)."""
    return (logits.argmax(-1) == y).float().mean(-1)


def task_scores(logits: Tensor, y: Tensor) -> Scores:
    """Return the scores of logits (T, N, n_way) and labels (T, N), as `MetaLearner.score` does: an overflow is inf."""
    loss = task_losses(logits, y)
    return Scores(loss=loss.where(loss.isfinite(), torch.inf), accuracy=task_accuracies(logits, y))


def exact_sum(values: Tensor) -> Tensor:
    """Return the sum of each task's gradient (T, …), in float64: the same to the last bit in any order of the tasks.

    Each number is first rounded to a multiple of 2⁻⁴⁰, about 1e-12. Sums of those are exact up to 2¹³, so sums of sums
    are the same, too: the meta-gradient does not depend on how the core cut the meta-batch, if no task's gradient
    depends on the others. Called by `MetaLearner.gradient`; the core and `adam_step` round to the state's type.
    """
    return (values.double() + ROUNDS).sub_(ROUNDS).sum(0)


def adam_state(state: State, names: Sequence[str]) -> State:
    """Return fresh moments for ``state[names]``, as `outer/…`: a learner's `init` adds them to its state."""
    fresh = {f"outer/{part}/{n}": torch.zeros_like(state[n]) for n in names for part in ("mean", "square")}
    return fresh | {f"outer/steps/{n}": torch.tensor(0.0) for n in names}


def adam_step(
    state: State, gradient: Gradient, names: Sequence[str], *, lr: float, n_tasks: int, clamp: float = 0.0
) -> None:
    """Take one Adam step on ``state[names]`` in place with the mean gradient; its moments live in the state.

    A missing gradient counts as zero: the moments decay and the tensor may still move, as with torch's own optimiser if
    only a part of a super-net was used. Mean gradients are limited to ±``clamp``, unless it is 0.
    """
    gradients = [
        gradient[n].to(state[n].dtype) / n_tasks if n in gradient else torch.zeros_like(state[n]) for n in names
    ]
    if clamp:
        torch._foreach_clamp_min_(gradients, -clamp)
        torch._foreach_clamp_max_(gradients, clamp)
    mean, square, steps = ([state[f"outer/{part}/{n}"] for n in names] for part in ("mean", "square", "steps"))
    with torch.no_grad():
        adam([state[n] for n in names], gradients, mean, square, [], steps, foreach=True, lr=lr, **_ADAM)


def normalise(x: Tensor, shared: Params, name: str, stats: NormStats | None = None, eps: float = 1e-5) -> Tensor:
    """Normalise the channels of maps (N, C, H, W) by this batch, or by the layer ``name`` of the statistics given.

    ``shared`` holds gamma and beta as ``<name>.weight`` and ``<name>.bias``: (C,), or (T, C) for maps (N, T*C, H, W) of
    T tasks. Called by `SuperNet.forward`, with its ``stats``, which receive this batch's if they are collected.
    """
    gamma, beta = shared[f"{name}.weight"], shared[f"{name}.bias"]
    # `flatten` leaves strides if C is 1; torch ignores them on CPUs, for 1×1 or channels-last maps.
    flat = gamma.flatten().contiguous(), beta.flatten().contiguous()
    if stats is not None and stats.mode == "apply":
        mean, var = stats.mean[name].flatten().contiguous(), stats.var[name].flatten().contiguous()
        return F.batch_norm(x, mean, var, *flat, training=False, eps=eps)
    if stats is not None:
        var, mean = torch.var_mean(x.detach(), dim=(0, 2, 3), correction=0)
        stats.mean[name], stats.var[name] = mean.view(gamma.shape), var.view(gamma.shape)
    return F.batch_norm(x, None, None, *flat, training=True, eps=eps)
