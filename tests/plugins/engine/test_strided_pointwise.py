"""1×1 convolutions with a stride: oneDNN's own kernel for them writes past its workspace (oneDNN issue 6035)."""

from __future__ import annotations

import pytest
import torch

from hnas_plugins.engine.conv import BY_SIZE, Geometry, Products, convolve


class Recorded:
    """Computes as `BY_SIZE` does and remembers the geometries that it was asked for."""

    def __init__(self, products: Products) -> None:
        self._products = products
        self.seen: list[Geometry] = []

    def forward(self, g: Geometry, x: torch.Tensor, w: torch.Tensor) -> torch.Tensor:
        self.seen.append(g)
        return self._products.forward(g, x, w)

    def data(self, g: Geometry, gy: torch.Tensor, w: torch.Tensor) -> torch.Tensor:
        self.seen.append(g)
        return self._products.data(g, gy, w)

    def weight(self, g: Geometry, x: torch.Tensor, gy: torch.Tensor) -> torch.Tensor:
        self.seen.append(g)
        return self._products.weight(g, x, gy)


@pytest.mark.parametrize(("channels", "size"), [(1, 28), (3, 84), (16, 7)])
def test_a_strided_pointwise_convolution_never_reaches_a_strided_kernel(channels: int, size: int) -> None:
    """Such a product crashed training, or gave wrong gradients, for kernel 1 in the first layer of a stride network."""
    x = torch.randn(2, 5, size, size, channels, requires_grad=True)
    w = torch.randn(2, 128, 1, 1, channels, requires_grad=True)
    products = Recorded(BY_SIZE)
    y = convolve(x, w, 2, products)
    expected = torch.einsum("tnhwc,toc->tnhwo", x[:, :, ::2, ::2], w[:, :, 0, 0])
    gy = torch.randn_like(y)
    ours = torch.autograd.grad(y, (x, w), gy)
    theirs = torch.autograd.grad(expected, (x, w), gy)
    assert [g.stride for g in products.seen] == [1, 1, 1]
    torch.testing.assert_close(y, expected, rtol=1e-4, atol=1e-4)
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-2)
