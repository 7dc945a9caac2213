"""Convolutions of many tasks: torch's own of each task alone, in every way to compute them, differentiated twice."""

import pytest
import torch
from torch.autograd import gradcheck, gradgradcheck
from torch.nn import functional as F

from hnas_plugins.engine import conv
from hnas_plugins.engine.conv import BY_SIZE, GEMM, ONEDNN, Geometry, convolve

pytestmark = pytest.mark.usefixtures("kernels")
WAYS = [pytest.param(GEMM, id="gemm"), pytest.param(ONEDNN, id="onednn"), pytest.param(BY_SIZE, id="by-size")]


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
@pytest.mark.parametrize("way", WAYS[:2])
def test_numerical_derivatives(way, kernel, stride):
    """A wrong derivative of any of the three products would bend every meta-gradient."""
    x, w = drawn(2, 2, 3, 3, 2).requires_grad_(), drawn(2, 2, kernel, kernel, 2, seed=1).requires_grad_()
    assert gradcheck(lambda x, w: convolve(x, w, stride, way), (x, w))
    assert gradgradcheck(lambda x, w: convolve(x, w, stride, way), (x, w), fast_mode=True)


@pytest.mark.parametrize("shape", [(7, 5, 1), (4, 6, 3), (2, 2, 2), (1, 1, 4)], ids=lambda s: "x".join(map(str, s)))
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("kernel", [1, 3, 5])
@pytest.mark.parametrize("way", WAYS)
def test_torchs_own_convolution_of_each_task(way, kernel, stride, shape):
    """Odd sizes, one input channel, and maps smaller than the kernel: borders are where patches go wrong."""
    x, w = drawn(3, 2, *shape), drawn(3, 5, kernel, kernel, shape[-1], seed=1)
    for mine, torchs in zip(second_order(_by(way), x, w, stride), second_order(reference, x, w, stride), strict=True):
        torch.testing.assert_close(mine, torchs)


def _by(way):
    return lambda x, w, stride: convolve(x, w, stride, way)


@pytest.mark.parametrize("block", [1, 40, 18 * 25 * 2, 18 * 25 * 5 * 2], ids=["image", "few", "images", "tasks"])
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("kernel", [1, 3])
def test_blocks_of_patches_change_nothing(monkeypatch, kernel, stride, block):
    """Large inputs are cut into blocks of images and of tasks, also uneven ones; a lost block would go unnoticed."""
    x, w = drawn(3, 5, 5, 5, 2), drawn(3, 4, kernel, kernel, 2, seed=1)
    whole = second_order(_by(GEMM), x, w, stride)
    monkeypatch.setattr(conv, "BLOCK", block)
    if kernel == 3 and stride == 1:
        assert len(GEMM._blocks(Geometry(5, 5, 2, 3, 1), 3, 5)) > 1
    for mine, expected in zip(second_order(_by(GEMM), x, w, stride), whole, strict=True):
        torch.testing.assert_close(mine, expected)


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("kernel", [1, 3])
@pytest.mark.parametrize("way", WAYS)
def test_weights_that_tasks_still_share_are_not_copied_but_count_for_each(way, kernel, stride):
    """Before the first inner step weights are expanded over tasks; their gradient is the sum over tasks."""
    x, w = drawn(3, 2, 4, 5, 2), drawn(4, kernel, kernel, 2, seed=1)

    def through_one(product):
        def run(x, w, stride):
            return product(x, w.expand(3, *w.shape), stride)

        return second_order(run, x, w, stride)

    for mine, torchs in zip(through_one(_by(way)), through_one(reference), strict=True):
        torch.testing.assert_close(mine, torchs)


@pytest.mark.parametrize("way", WAYS)
def test_strided_inputs_and_gradients(way):
    """Permuted images, and the expanded gradient of a sum, have strides that kernels must not ignore."""
    x, w = drawn(2, 3, 2, 6, 5).permute(0, 1, 3, 4, 2), drawn(2, 4, 2, 3, 3, seed=1).permute(0, 1, 3, 4, 2)
    x.requires_grad_(), w.requires_grad_()
    mine = torch.autograd.grad(convolve(x, w, 2, way).sum(), (x, w))
    torchs = torch.autograd.grad(reference(x, w, 2).sum(), (x, w))
    for a, b in zip(mine, torchs, strict=True):
        torch.testing.assert_close(a, b)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("channels", [1, 16])
def test_float32(way, channels):
    """The type that trainings use; tolerance for sums of up to 25 × 16 and 3 × 14 × 14 products."""
    x, w = drawn(2, 3, 14, 14, channels, dtype=torch.float32), drawn(2, 8, 5, 5, channels, seed=1, dtype=torch.float32)
    exact = second_order(reference, x.double(), w.double(), 1)
    for mine, expected in zip(second_order(_by(way), x, w, 1), exact, strict=True):
        assert mine.dtype == torch.float32
        torch.testing.assert_close(mine.double(), expected, rtol=1e-4, atol=1e-4 * expected.abs().max().item())


def test_by_size_takes_both_ways(monkeypatch):
    """A threshold that never bites, or always, would cost most of the speed without a wrong number anywhere."""
    picked = []
    for name, way in (("gemm", conv.Gemm), ("onednn", conv.OneDNN)):
        forward = way.forward
        monkeypatch.setattr(
            way,
            "forward",
            lambda self, g, x, w, name=name, forward=forward: picked.append(name) or forward(self, g, x, w),
        )
    convolve(drawn(4, 5, 7, 7, 8), drawn(4, 8, 3, 3, 8), 1)
    assert picked == ["gemm"]
    convolve(drawn(1, 8, 14, 14, 64), drawn(1, 64, 3, 3, 64), 1)
    assert picked == ["gemm", "onednn"]


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
@pytest.mark.parametrize("way", WAYS)
def test_a_diverged_task_is_seen_and_leaves_the_others_alone(way, bad):
    x, w = drawn(3, 2, 5, 5, 2), drawn(3, 4, 3, 3, 2, seed=1)
    good = convolve(x, w, 1, way)
    w[1, 2, 1, 1, 0] = bad
    y = convolve(x, w, 1, way)
    assert not y[1, ..., 2].isfinite().any()
    torch.testing.assert_close(y[[0, 2]], good[[0, 2]])
