"""Convolutions of many tasks: torch's own of each task alone, differentiated twice."""

import pytest
import torch
from torch.autograd import gradcheck, gradgradcheck
from torch.nn import functional as F

from hnas_plugins.engine.conv import convolve

pytestmark = pytest.mark.usefixtures("kernels")


def drawn(*shape, seed=0, dtype=torch.float64):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


def reference(x, w, stride):
    """One `torch.conv2d` for each task."""
    pad = w.shape[2] // 2
    each = [
        F.conv2d(a.permute(0, 3, 1, 2), b.permute(0, 3, 1, 2), None, stride, pad) for a, b in zip(x, w, strict=True)
    ]
    return torch.stack(each).permute(0, 1, 3, 4, 2)


def second_order(product, x, w, stride):
    """Return y, both gradients, and the gradients of those: everything that a meta-gradient asks of a convolution."""
    x, w = x.detach().requires_grad_(), w.detach().requires_grad_()
    y = product(x, w, stride)
    gy = drawn(*y.shape, seed=7, dtype=x.dtype).requires_grad_()
    first = torch.autograd.grad(y, (x, w), gy, create_graph=True)
    seeds = [drawn(*g.shape, seed=8, dtype=x.dtype) for g in first]
    return y, *first, *torch.autograd.grad(first, (x, w, gy), seeds)


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("kernel", [1, 3, 5])
def test_numerical_derivatives(kernel, stride):
    """A wrong derivative of any of the three products would bend every meta-gradient."""
    x, w = drawn(2, 2, 3, 3, 2).requires_grad_(), drawn(2, 2, kernel, kernel, 2, seed=1).requires_grad_()
    assert gradcheck(lambda x, w: convolve(x, w, stride), (x, w))
    assert gradgradcheck(lambda x, w: convolve(x, w, stride), (x, w), fast_mode=True)


@pytest.mark.parametrize("shape", [(7, 5, 1), (4, 6, 3), (2, 2, 2), (1, 1, 4)], ids=lambda s: "x".join(map(str, s)))
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("kernel", [1, 3, 5])
def test_torchs_own_convolution_of_each_task(kernel, stride, shape):
    """Odd sizes, one input channel, and maps smaller than the kernel: borders are where patches go wrong."""
    x, w = drawn(3, 2, *shape), drawn(3, 5, kernel, kernel, shape[-1], seed=1)
    for mine, torchs in zip(second_order(convolve, x, w, stride), second_order(reference, x, w, stride), strict=True):
        torch.testing.assert_close(mine, torchs)


# Tiles of the kernels are 6 x 8, 16 or 64: channels below, at, between and above those, and maps of one pixel.
@pytest.mark.parametrize("channels", [(1, 4), (3, 16), (4, 9), (8, 33), (17, 24), (36, 70)], ids=str)
@pytest.mark.parametrize("shape", [(1, 1), (2, 3), (7, 5), (20, 21)], ids=str)
@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize("kernel", [1, 3, 5])
def test_edges_of_tiles(kernel, stride, shape, channels):
    """A tile that is not full is where a kernel reads or writes a neighbour's numbers."""
    x, w = drawn(1, 3, *shape, channels[0]), drawn(1, channels[1], kernel, kernel, channels[0], seed=1)
    for mine, torchs in zip(second_order(convolve, x, w, stride), second_order(reference, x, w, stride), strict=True):
        torch.testing.assert_close(mine, torchs)


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("channels", [1, 24])
def test_more_images_than_fit_in_a_group(channels, stride):
    """Images are copied into cache a few at a time, the last group smaller: a lost one would go unnoticed."""
    x, w = drawn(2, 65, 37, 41, channels), drawn(2, 5, 3, 3, channels, seed=1)
    for mine, torchs in zip(second_order(convolve, x, w, stride), second_order(reference, x, w, stride), strict=True):
        torch.testing.assert_close(mine, torchs)


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("kernel", [1, 3])
def test_weights_that_tasks_still_share_are_not_copied_but_count_for_each(kernel, stride):
    """Before the first inner step weights are expanded over tasks; their gradient is the sum over tasks."""
    x, w = drawn(3, 2, 4, 5, 2), drawn(4, kernel, kernel, 2, seed=1)

    def through_one(product):
        def run(x, w, stride):
            return product(x, w.expand(3, *w.shape), stride)

        return second_order(run, x, w, stride)

    for mine, torchs in zip(through_one(convolve), through_one(reference), strict=True):
        torch.testing.assert_close(mine, torchs)


def test_strided_inputs_and_gradients():
    """Permuted images, and the expanded gradient of a sum, have strides that kernels must not ignore."""
    x, w = drawn(2, 3, 2, 6, 5).permute(0, 1, 3, 4, 2), drawn(2, 4, 2, 3, 3, seed=1).permute(0, 1, 3, 4, 2)
    x.requires_grad_(), w.requires_grad_()
    mine = torch.autograd.grad(convolve(x, w, 2).sum(), (x, w))
    torchs = torch.autograd.grad(reference(x, w, 2).sum(), (x, w))
    for a, b in zip(mine, torchs, strict=True):
        torch.testing.assert_close(a, b)


@pytest.mark.parametrize("channels", [1, 16])
def test_float32(channels):
    """The type that trainings use; tolerance for sums of up to 25 × 16 and 3 × 14 × 14 products."""
    x, w = drawn(2, 3, 14, 14, channels, dtype=torch.float32), drawn(2, 8, 5, 5, channels, seed=1, dtype=torch.float32)
    exact = second_order(reference, x.double(), w.double(), 1)
    for mine, expected in zip(second_order(convolve, x, w, 1), exact, strict=True):
        assert mine.dtype == torch.float32
        torch.testing.assert_close(mine.double(), expected, rtol=1e-4, atol=1e-4 * expected.abs().max().item())


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_diverged_task_is_seen_and_leaves_the_others_alone(bad):
    x, w = drawn(3, 2, 5, 5, 2), drawn(3, 4, 3, 3, 2, seed=1)
    good = convolve(x, w, 1)
    w[1, 2, 1, 1, 0] = bad
    y = convolve(x, w, 1)
    assert not y[1, ..., 2].isfinite().any()
    torch.testing.assert_close(y[[0, 2]], good[[0, 2]])
