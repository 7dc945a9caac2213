"""Convolutions of many tasks, closed under differentiation: the derivatives of each of three products are the others.

y = F(x, w);  gx = D(gy, w);  gw = W(x, gy).  Each is linear in both arguments, so autograd of any order needs no more.
"""

from __future__ import annotations

from typing import Any

import torch
from attrs import frozen
from torch import Tensor

from hnas_plugins.engine.native import apply, library


@frozen
class Geometry:
    """What a convolution does to shapes: images (H, W, C) to (Ho, Wo, O), zero-padded by half the kernel."""

    height: int
    width: int
    channels: int
    filters: int
    kernel: int
    stride: int

    @classmethod
    def of(cls, x: Tensor, w: Tensor, stride: int) -> Geometry:
        """Return what a convolution of images (T, N, H, W, C) with weights (T, O, k, k, C) does."""
        _, _, height, width, channels = x.shape
        return cls(height, width, channels, w.shape[1], w.shape[2], stride)

    @property
    def out(self) -> tuple[int, int]:
        """Height and width of the output."""
        edge = 2 * (self.kernel // 2) - self.kernel
        return (self.height + edge) // self.stride + 1, (self.width + edge) // self.stride + 1


def convolve(x: Tensor, w: Tensor, stride: int) -> Tensor:
    """Convolve images (T, N, H, W, C) with each task's weights (T, O, k, k, C)."""
    y: Tensor = apply(_Forward, x, w, Geometry.of(x, w, stride))
    return y


def forward(g: Geometry, x: Tensor, w: Tensor) -> Tensor:
    """Return y (T, N, Ho, Wo, O) for x (T, N, H, W, C) and w (T, O, k, k, C)."""
    y = x.new_empty((*x.shape[:2], *g.out, g.filters))
    _call("conv_forward", g, x.contiguous(), w, y, *_tasks(x, w), strides=w.stride())
    return y


def data(g: Geometry, gy: Tensor, w: Tensor) -> Tensor:
    """Return the gradient by x for that by y."""
    gx = gy.new_empty((*gy.shape[:2], g.height, g.width, g.channels))
    _call("conv_data", g, gy.contiguous(), w, gx, *_tasks(gy, w), strides=w.stride())
    return gx


def weight(g: Geometry, x: Tensor, gy: Tensor) -> Tensor:
    """Return the gradient by w for that by y."""
    gw = x.new_empty((len(x), g.filters, g.kernel, g.kernel, g.channels))
    _call("conv_weight", g, x.contiguous(), gy.contiguous(), gw, *x.shape[:2])
    return gw


def _tasks(images: Tensor, w: Tensor) -> tuple[int, int]:
    """Return the number of tasks and of images of each. Tasks that share one set of weights are one."""
    tasks, each = images.shape[:2]
    return (1, tasks * each) if w.stride(0) == 0 else (tasks, each)


def _call(
    product: str, g: Geometry, a: Tensor, b: Tensor, out: Tensor, t: int, n: int, strides: tuple[int, ...] = ()
) -> None:
    shapes = (t, n, g.height, g.width, g.channels, g.filters, g.kernel, g.stride, *g.out)
    if getattr(library(a.dtype), product)(a.data_ptr(), b.data_ptr(), out.data_ptr(), *shapes, *strides):
        raise MemoryError(f"{product}: no memory for its scratch space, images {tuple(a.shape)}")


class _Forward(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, w: Tensor, g: Geometry) -> Tensor:
        ctx.save_for_backward(x, w)
        ctx.geometry = g
        return forward(g, x, w)

    @staticmethod
    def backward(ctx: Any, gy: Tensor) -> tuple[Tensor | None, ...]:
        x, w = ctx.saved_tensors
        gx = apply(_Data, gy, w, ctx.geometry) if ctx.needs_input_grad[0] else None
        gw = apply(_Weight, x, gy, ctx.geometry) if ctx.needs_input_grad[1] else None
        return gx, gw, None


class _Data(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, gy: Tensor, w: Tensor, g: Geometry) -> Tensor:
        ctx.save_for_backward(gy, w)
        ctx.geometry = g
        return data(g, gy, w)

    @staticmethod
    def backward(ctx: Any, cx: Tensor) -> tuple[Tensor | None, ...]:
        gy, w = ctx.saved_tensors
        cgy = apply(_Forward, cx, w, ctx.geometry) if ctx.needs_input_grad[0] else None
        cw = apply(_Weight, cx, gy, ctx.geometry) if ctx.needs_input_grad[1] else None
        return cgy, cw, None


class _Weight(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, gy: Tensor, g: Geometry) -> Tensor:
        ctx.save_for_backward(x, gy)
        ctx.geometry = g
        return weight(g, x, gy)

    @staticmethod
    def backward(ctx: Any, cw: Tensor) -> tuple[Tensor | None, ...]:
        x, gy = ctx.saved_tensors
        cx = apply(_Data, gy, cw, ctx.geometry) if ctx.needs_input_grad[0] else None
        cgy = apply(_Forward, x, cw, ctx.geometry) if ctx.needs_input_grad[1] else None
        return cx, cgy, None
