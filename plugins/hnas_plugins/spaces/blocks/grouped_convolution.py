"""A convolution with groups whose second derivatives are convolutions with groups, too.

torch differentiates a backward pass of such a convolution group by group: with 16 tasks as groups, that is 16 small
kernels instead of one.
"""

from __future__ import annotations

import torch
from attrs import frozen
from torch import Tensor
from torch.nn import functional as F
from torch.nn.grad import conv2d_input, conv2d_weight

from hnas_plugins.engine.bilinear import product


@frozen
class _Grouped:
    """The products of images (N, T*C, H, W) and weights (T*O, C, k, k) of T groups, padded by half the kernel."""

    x_shape: torch.Size
    w_shape: torch.Size
    how: tuple[int, int, int, int]  # stride, padding, dilation, groups

    def y(self, x: Tensor, w: Tensor) -> Tensor:
        return F.conv2d(x, w, None, *self.how)

    def x(self, y: Tensor, w: Tensor) -> Tensor:
        return conv2d_input(self.x_shape, w, y, *self.how)  # type: ignore[no-untyped-call, no-any-return]

    def w(self, x: Tensor, y: Tensor) -> Tensor:
        return conv2d_weight(x, self.w_shape, y, *self.how)  # type: ignore[no-untyped-call, no-any-return]


def grouped_convolution(x: Tensor, weight: Tensor, stride: int) -> Tensor:
    """Convolve the images (N, T*C, H, W) of T tasks with each one's weight (T, O, C, k, k), padded by half the kernel.

    Differentiable to any order. In an autocast context it computes in that context's precision.
    """
    device = x.device.type
    if torch.is_autocast_enabled(device):
        dtype = torch.get_autocast_dtype(device)
        x, weight = x.to(dtype), weight.to(dtype)
    flat = weight.flatten(0, 1)
    return product(_Grouped(x.shape, flat.shape, (stride, weight.shape[-1] // 2, 1, len(weight))), x, flat)
