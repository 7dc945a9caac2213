"""1×1 convolutions with a stride: oneDNN's own kernel for them writes past its workspace (oneDNN issue 6035)."""

from __future__ import annotations

import pytest
import torch

from hnas_plugins.engine.conv import convolve

pytestmark = pytest.mark.usefixtures("kernels")


@pytest.mark.parametrize(("channels", "size"), [(1, 28), (3, 84), (16, 7)])
def test_a_strided_pointwise_convolution(channels: int, size: int) -> None:
    """Such a product crashed training, or gave wrong gradients, for kernel 1 in the first layer of a stride network."""
    x = torch.randn(2, 5, size, size, channels, requires_grad=True)
    w = torch.randn(2, 128, 1, 1, channels, requires_grad=True)
    y = convolve(x, w, 2)
    expected = torch.einsum("tnhwc,toc->tnhwo", x[:, :, ::2, ::2], w[:, :, 0, 0])
    gy = torch.randn_like(y)
    ours = torch.autograd.grad(y, (x, w), gy)
    theirs = torch.autograd.grad(expected, (x, w), gy)
    torch.testing.assert_close(y, expected, rtol=1e-4, atol=1e-4)
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-2)
