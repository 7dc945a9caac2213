"""Building blocks of convolutional super-nets, as functions of their weights: for one task, and for many at once.

A batch of T tasks runs as T groups of one convolution: images stand as ``(N, T*C, H, W)``, channels of one task side
by side, and every weight has a leading dimension T. Everything here is twice differentiable, in float32 and float64, on
any device. Maps are halved with rounding up.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

from hnas import NormStats
from hnas.toolkit import activations
from hnas.toolkit.learning import normalise
from hnas_plugins.spaces.blocks.grouped_convolution import grouped_convolution

ACTIVATIONS: dict[str | None, Callable[[Tensor], Tensor]] = {
    **{name: getattr(F, known.function) for name, known in activations.ACTIVATIONS.items()},
    None: lambda x: x,
}


def conv_norm_activation(
    x: Tensor,  # (N, C, H, W), or (N, T*C, H, W)
    weight: Tensor,  # (O, C, k, k), or (T, O, C, k, k)
    gamma: Tensor,  # (O,), or (T, O)
    beta: Tensor,  # (O,), or (T, O)
    *,
    activation: str | None,
    stride: int,
    max_pool: bool,
    norm: str,
    stats: NormStats | None,
) -> Tensor:
    """Convolve without a bias, normalise, activate and, with ``max_pool``, halve.

    Returns (N, O, H', W'); or (N, T*O, H', W') for T tasks, each with its own weights and statistics. A bias would
    cancel in the normalisation. ``norm`` names the layer in ``stats``. ``activation`` may be ``None``.
    """
    x = convolve_tasks(x, weight, stride) if weight.dim() == 5 else _convolve(x, weight, stride, 1)
    x = normalise(x, {f"{norm}.weight": gamma, f"{norm}.bias": beta}, norm, stats)
    x = ACTIVATIONS[activation](x)
    return F.max_pool2d(x, 2, ceil_mode=True) if max_pool else x


def convolve_tasks(x: Tensor, weight: Tensor, stride: int) -> Tensor:
    """Convolve the images (N, T*C, H, W) of T tasks with each one's weight (T, O, C, k, k).

    While a CUDA graph is recorded, `grouped_convolution` does it: its second derivatives take the GPU a quarter less
    time. Else torch's own does: run from Python, the GPU waits for its kernels to be launched anyway.
    """
    if torch.cuda.is_available() and torch.cuda.is_current_stream_capturing():
        return grouped_convolution(x, weight, stride)
    return _convolve(x, weight.flatten(0, 1), stride, weight.shape[0])


def _convolve(x: Tensor, weight: Tensor, stride: int, groups: int) -> Tensor:
    """Convolve, zero-padded by half the kernel.

    A 1×1 kernel with a stride sees every stride-th pixel only. It gets just those: on CPUs torch uses oneDNN, which
    writes past its workspace with few channels (oneDNN issue 6035).
    """
    if weight.shape[-1] == 1 and stride > 1:
        x, stride = x[..., ::stride, ::stride], 1
    return F.conv2d(x, weight, stride=stride, padding=weight.shape[-1] // 2, groups=groups)


def centre(weight: Tensor, kernel: int) -> Tensor:
    """Return the middle ``kernel`` × ``kernel`` of a larger kernel (…, k, k), as a view."""
    edge = (weight.shape[-1] - kernel) // 2
    return weight[..., edge : edge + kernel, edge : edge + kernel]


def pool_linear(x: Tensor, weight: Tensor, bias: Tensor, pool: int) -> Tensor:
    """Average to ``pool`` × ``pool`` and classify. ``x`` (N, C, H, W), ``weight`` (n_way, C, pool²) → (N, n_way)."""
    return F.linear(_average(x, pool).flatten(1), weight.flatten(1), bias)


def pool_linear_tasks(x: Tensor, weight: Tensor, bias: Tensor, pool: int) -> Tensor:
    """Do `pool_linear` for T tasks. ``x`` (N, T*C, H, W), ``weight`` (T, n_way, C, pool²) → (T, N, n_way)."""
    features = _average(x, pool).reshape(x.shape[0], weight.shape[0], -1).transpose(0, 1)  # (T, N, C*pool²)
    return torch.baddbmm(bias[:, None], features, weight.flatten(2).transpose(1, 2))


def _average(x: Tensor, pool: int) -> Tensor:
    return x.mean((2, 3), keepdim=True) if pool == 1 else F.adaptive_avg_pool2d(x, pool)


def group_tasks(x: Tensor) -> Tensor:
    """Put the images of T tasks side by side: (T, N, C, H, W) → (N, T*C, H, W)."""
    return x.transpose(0, 1).flatten(1, 2)
