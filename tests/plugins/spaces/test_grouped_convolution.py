"""The convolution of many tasks at once, whose gradients are written by hand: first and second derivatives."""

from __future__ import annotations

import pytest
import torch
from torch.autograd import gradcheck, gradgradcheck
from torch.nn import functional as F

from hnas_plugins.spaces.blocks.grouped_convolution import grouped_convolution

TASKS = 3


def drawn(kernel: int, dtype: torch.dtype = torch.float64) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(2, TASKS * 2, 5, 6, generator=generator, dtype=dtype, requires_grad=True)
    weight = torch.randn(TASKS, 4, 2, kernel, kernel, generator=generator, dtype=dtype, requires_grad=True)
    return x, weight


@pytest.mark.parametrize(("kernel", "stride"), [(1, 1), (3, 1), (3, 2), (5, 2)])
def test_it_is_torchs_convolution_to_the_second_derivative(kernel: int, stride: int) -> None:
    x, weight = drawn(kernel)

    def function(x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        return grouped_convolution(x, weight, stride)

    expected = F.conv2d(x, weight.flatten(0, 1), stride=stride, padding=kernel // 2, groups=TASKS)
    torch.testing.assert_close(function(x, weight), expected)
    assert gradcheck(function, (x, weight))
    assert gradgradcheck(function, (x, weight))


def test_a_gradient_that_nobody_wants_is_not_computed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The images of the first layer need none; a wrong mask would cost a convolution in every step."""

    def unwanted(*arguments: object) -> None:
        pytest.fail("computed a gradient of the images")

    monkeypatch.setattr("hnas_plugins.spaces.blocks.grouped_convolution.conv2d_input", unwanted)
    x, weight = drawn(3)
    y = grouped_convolution(x.detach(), weight, 1)
    (found,) = torch.autograd.grad(y.square().sum(), weight, create_graph=True)
    (second,) = torch.autograd.grad(found.sum(), weight)
    truth = F.conv2d(x.detach(), weight.flatten(0, 1), padding=1, groups=TASKS)
    (expected,) = torch.autograd.grad(truth.square().sum(), weight, create_graph=True)
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(second, torch.autograd.grad(expected.sum(), weight)[0])


def test_in_autocast_it_computes_in_the_lower_precision() -> None:
    x, weight = drawn(3, torch.float32)
    with torch.autocast("cpu", torch.bfloat16):
        y = grouped_convolution(x, weight, 1)
    assert y.dtype is torch.bfloat16
    (gradient,) = torch.autograd.grad(y.float().square().sum(), weight)
    assert gradient.dtype is torch.float32
