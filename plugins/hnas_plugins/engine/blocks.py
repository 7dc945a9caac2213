"""The plain blocks, `hnas_plugins.spaces.blocks.plain`, on the fast path: channels-last and tasks first."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

from hnas import NormStats
from hnas_plugins.engine.conv import convolve
from hnas_plugins.engine.native import library
from hnas_plugins.engine.norm import norm_activation

EPS = 1e-5
VECTOR = 64
"""A multiple of how many numbers torch computes at a time, on any processor."""


def usable(x: Tensor, stats: NormStats | None) -> bool:
    """Return whether the fast path serves this pass: on a CPU, in full precision, with the statistics of the batch."""
    if x.device.type != "cpu" or torch.is_autocast_enabled("cpu"):
        return False
    return (stats is None or stats.mode == "collect") and library(x.dtype) is not None


def prepare() -> None:
    """Compile the kernels, or warn that they cannot be built, before all workers do so at once."""
    library(torch.float32)


def channels_last(x: Tensor) -> Tensor:
    """Bring images (T, N, C, H, W) into the order of this module, (T, N, H, W, C)."""
    return x.permute(0, 1, 3, 4, 2).contiguous()


def conv_norm_activation(
    x: Tensor,  # (T, N, H, W, C)
    weight: Tensor,  # (T, O, C, k, k)
    gamma: Tensor,  # (T, O)
    beta: Tensor,  # (T, O)
    *,
    activation: str | None,
    stride: int,
    max_pool: bool,
    norm: str,
    stats: NormStats | None,
) -> Tensor:
    """Convolve without a bias, normalise, activate if at all and, with ``max_pool``, halve: (T, N, H', W', O)."""
    x = convolve(x, weight.permute(0, 1, 3, 4, 2), stride)
    y, mean, rstd = norm_activation(x, gamma, beta, activation=activation, max_pool=max_pool, eps=EPS)
    if stats is not None:
        stats.mean[norm], stats.var[norm] = mean, rstd**-2 - EPS
    return y


def each_task(function: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """Return a function of single numbers, for the maps (T, …) of tasks, of which none depends on the others.

    torch rounds the last numbers of a tensor, which fill no vector of the processor, otherwise than those before.
    """
    return function(x) if x[0].numel() % VECTOR == 0 else torch.stack([function(task) for task in x])


def pool_linear(x: Tensor, weight: Tensor, bias: Tensor, pool: int) -> Tensor:
    """Average to ``pool`` × ``pool`` and classify. ``weight`` (T, n_way, C, pool²) → logits (T, N, n_way)."""
    if pool == 1:
        features = x.mean((2, 3))
    else:
        t, n, h, w, c = x.shape
        maps = F.adaptive_avg_pool2d(x.reshape(t * n, h, w, c).permute(0, 3, 1, 2), pool)
        features = maps.reshape(t, n, -1)
    return torch.baddbmm(bias[:, None], features, weight.flatten(2).transpose(1, 2))
