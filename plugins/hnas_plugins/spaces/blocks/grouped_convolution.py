"""A convolution with groups whose second derivatives are convolutions with groups, too.

torch differentiates a backward pass of such a convolution group by group: with 16 tasks as groups, that is 16 small
kernels instead of one. The convolution y, its gradient of the input and its gradient of the weight are each linear in
their two arguments, and each one's gradients are given by the other two; so three functions are closed under
differentiation, to any order.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd import Function
from torch.nn import functional as F
from torch.nn.grad import conv2d_input, conv2d_weight

from hnas_plugins.engine.native import apply


class Geometry(NamedTuple):
    """How the kernel moves: the same for the convolution and its gradients."""

    stride: int
    padding: int
    dilation: int
    groups: int


def grouped_convolution(x: Tensor, weight: Tensor, stride: int) -> Tensor:
    """Convolve the images (N, T*C, H, W) of T tasks with each one's weight (T, O, C, k, k), padded by half the kernel.

    Differentiable to any order. In an autocast context it computes in that context's precision.
    """
    device = x.device.type
    if torch.is_autocast_enabled(device):
        dtype = torch.get_autocast_dtype(device)
        x, weight = x.to(dtype), weight.to(dtype)
    geometry = Geometry(stride=stride, padding=weight.shape[-1] // 2, dilation=1, groups=weight.shape[0])
    y: Tensor = apply(_Convolution, x, weight.flatten(0, 1), geometry)
    return y


class _Convolution(Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, geometry: Geometry) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.geometry = geometry
        return F.conv2d(x, weight, None, *geometry)

    @staticmethod
    def backward(ctx: Any, gy: Tensor) -> Any:
        x, weight = ctx.saved_tensors
        for_x, for_weight, _ = ctx.needs_input_grad
        gx = apply(_InputGradient, gy, weight, x.shape, ctx.geometry) if for_x else None
        gw = apply(_WeightGradient, x, gy, weight.shape, ctx.geometry) if for_weight else None
        return gx, gw, None


class _InputGradient(Function):
    @staticmethod
    def forward(ctx: Any, gy: Tensor, weight: Tensor, shape: torch.Size, geometry: Geometry) -> Tensor:
        ctx.save_for_backward(gy, weight)
        ctx.geometry = geometry
        return conv2d_input(shape, weight, gy, *geometry)  # type: ignore[no-untyped-call, no-any-return]

    @staticmethod
    def backward(ctx: Any, ggx: Tensor) -> Any:
        gy, weight = ctx.saved_tensors
        for_gy, for_weight, _, _ = ctx.needs_input_grad
        dgy = apply(_Convolution, ggx, weight, ctx.geometry) if for_gy else None
        dw = apply(_WeightGradient, ggx, gy, weight.shape, ctx.geometry) if for_weight else None
        return dgy, dw, None, None


class _WeightGradient(Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, gy: Tensor, shape: torch.Size, geometry: Geometry) -> Tensor:
        ctx.save_for_backward(x, gy)
        ctx.geometry = geometry
        return conv2d_weight(x, shape, gy, *geometry)  # type: ignore[no-untyped-call, no-any-return]

    @staticmethod
    def backward(ctx: Any, ggw: Tensor) -> Any:
        x, gy = ctx.saved_tensors
        for_x, for_gy, _, _ = ctx.needs_input_grad
        dx = apply(_InputGradient, gy, ggw, x.shape, ctx.geometry) if for_x else None
        dgy = apply(_Convolution, x, ggw, ctx.geometry) if for_gy else None
        return dx, dgy, None, None
