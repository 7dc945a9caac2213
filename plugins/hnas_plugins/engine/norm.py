"""Batch normalisation by batch statistics, activation and 2×2 max-pool as one node, twice differentiable.

With xh = (x - mean) r, r = rstd, z = gamma xh + beta, y = f(z) (then the maximum of each 2×2 patch: f is monotone),
and M rows, the backward pass is, with u = gamma r::

    gz = f'(z) gy      dbeta = sum gz      dgamma = sum gz xh      gx = u (gz - dbeta / M - xh dgamma / M)

Let v, a, b be the cotangents of gx, dgamma, dbeta, and B = sum v gz - (sum v)(sum gz) / M - (sum v xh)(sum gz xh) / M.
The double backward pass differentiates  S = sum v gx + a dgamma + b dbeta  =  u B + a sum gz xh + b sum gz::

    dgz  = u (v - sum v / M - xh (sum v xh) / M) + a xh + b
    ggy  = f'(z) dgz              dz = f''(z) gy dgz
    dxh  = -u / M (v sum gz xh + gz sum v xh) + a gz + gamma dz
    dx   = r (dxh - mean(dxh) - xh mean(dxh xh)) - r u B xh / M
    dgamma = r B + sum dz xh      dbeta = sum dz
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from hnas.toolkit.activations import ACTIVATIONS
from hnas_plugins.engine.native import apply, library

ACTIVATION_CODES: dict[str | None, int] = {name: code for code, name in enumerate((*ACTIVATIONS, None))}
"""The codes of activations.h; ``None`` is no activation."""


def norm_activation(
    x: Tensor,  # (T, N, H, W, C)
    gamma: Tensor,  # (T, C)
    beta: Tensor,  # (T, C)
    *,
    activation: str | None,
    max_pool: bool,
    eps: float,
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the output (T, N, H', W', C), and each task's mean and reciprocal deviation (T, C), without gradient.

    Raises `ValueError` if types or shapes do not fit: the kernels do not check their arguments.
    """
    expected = (x.dtype, (x.shape[0], x.shape[-1]))
    if not (gamma.dtype, tuple(gamma.shape)) == (beta.dtype, tuple(beta.shape)) == expected:
        raise ValueError(
            f"norm_activation: gamma is {gamma.dtype} {tuple(gamma.shape)} and beta {beta.dtype} {tuple(beta.shape)}; "
            f"expected {x.dtype} {expected[1]}, for x {tuple(x.shape)}"
        )
    y, mean, rstd = apply(_Forward, x, gamma, beta, ACTIVATION_CODES[activation], max_pool, eps)
    return y, mean, rstd


class _Forward(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: Tensor, gamma: Tensor, beta: Tensor, activation: int, max_pool: bool, eps: float
    ) -> tuple[Tensor, Tensor, Tensor]:
        x_, gamma_, beta_ = x.contiguous(), gamma.contiguous(), beta.contiguous()
        t, n, h, w, c = x.shape
        y = x.new_empty((t, n, (h + 1) // 2, (w + 1) // 2, c) if max_pool else x.shape)
        corner = torch.empty(y.shape if max_pool else 0, dtype=torch.uint8)
        mean, rstd = x.new_empty(t, c), x.new_empty(t, c)
        _call("norm_forward", x_, gamma_, beta_, y, corner, mean, rstd, *x.shape, activation, max_pool, eps)
        ctx.save_for_backward(x, gamma, beta)
        ctx.rest = (corner, mean, rstd, activation, max_pool)
        ctx.mark_non_differentiable(mean, rstd)
        ctx.set_materialize_grads(False)
        return y, mean, rstd

    @staticmethod
    def backward(ctx: Any, gy: Tensor | None, *_: object) -> tuple[Tensor | None, ...]:
        if gy is None:
            return (None,) * 6
        gx, dgamma, dbeta = apply(_Backward, gy, *ctx.saved_tensors, *ctx.rest)
        return gx, dgamma, dbeta, None, None, None


class _Backward(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, gy: Tensor, x: Tensor, gamma: Tensor, beta: Tensor, *rest: Any) -> tuple[Tensor, ...]:
        corner, mean, rstd, activation, max_pool = rest
        gx, dgamma, dbeta = torch.empty_like(x, memory_format=torch.contiguous_format), *_pair(gamma)
        inputs = [v.contiguous() for v in (gy, x)], [v.contiguous() for v in (gamma, beta)]
        _call(
            "norm_backward", *inputs[0], corner, *inputs[1], mean, rstd, gx, dgamma, dbeta,
            *x.shape, activation, max_pool,
        )  # fmt: skip
        ctx.save_for_backward(gy, x, gamma, beta)
        ctx.rest = rest
        return gx, dgamma, dbeta

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, v: Tensor, a: Tensor, b: Tensor) -> tuple[Tensor | None, ...]:
        gy, x, gamma, beta = (t.contiguous() for t in ctx.saved_tensors)
        corner, mean, rstd, activation, max_pool = ctx.rest
        ggy, gx = torch.empty_like(gy), torch.empty_like(x)
        dgamma, dbeta = _pair(gamma)
        _call(
            "norm_backward2", v.contiguous(), a.contiguous(), b.contiguous(), gy, x, corner, gamma, beta, mean, rstd,
            ggy, gx, dgamma, dbeta, *x.shape, activation, max_pool,
        )  # fmt: skip
        return (ggy, gx, dgamma, dbeta, *(None,) * 5)


def _pair(like: Tensor) -> tuple[Tensor, Tensor]:
    return like.new_empty(like.shape), like.new_empty(like.shape)


def _call(name: str, *arguments: Any) -> None:
    """Call a kernel with the addresses of tensors."""
    kernels = library(arguments[0].dtype)
    if getattr(kernels, name)(*(a.data_ptr() if isinstance(a, Tensor) else a for a in arguments)):
        raise MemoryError(f"{name}: no memory for its scratch space")
