"""The fused normalisation, activation and pooling: torch's own operations, differentiated twice, NaN included."""

import gc
import re
import weakref
from importlib.resources import files

import pytest
import torch
from torch.autograd import gradcheck, gradgradcheck
from torch.nn import functional as F

from hnas_plugins.engine.norm import ACTIVATION_CODES, norm_activation
from hnas_plugins.spaces.blocks.conv_layers import ACTIVATIONS

pytestmark = pytest.mark.usefixtures("kernels")
OWN = {
    "relu": F.relu,
    "elu": F.elu,
    "selu": F.selu,
    "sigmoid": torch.sigmoid,
    "relu6": F.relu6,
    "leakyrelu": F.leaky_relu,
    None: lambda z: z,
}
EPS = 1e-5
each_activation = pytest.mark.parametrize("activation", OWN)
each_pool = pytest.mark.parametrize("max_pool", [False, True], ids=["", "pool"])


def drawn(shape, seed=0, dtype=torch.float64):
    """Return x, gamma and beta; gamma is wide and of both signs, so that z leaves 0 … 6 on both sides."""
    generator = torch.Generator().manual_seed(seed)
    tasks, channels = shape[0], shape[-1]
    x = torch.randn(shape, generator=generator, dtype=torch.float64)
    gamma = 4 * torch.randn(tasks, channels, generator=generator, dtype=torch.float64)
    beta = 1 + 2 * torch.randn(tasks, channels, generator=generator, dtype=torch.float64)
    return x.to(dtype), gamma.to(dtype), beta.to(dtype)


def fused(activation, max_pool):
    return lambda *tensors: norm_activation(*tensors, activation=activation, max_pool=max_pool, eps=EPS)[0]


def reference(activation, max_pool):
    """Task after task, channels first, in the order of the text books: normalise, activate, pool."""

    def run(x, gamma, beta):
        tasks = []
        for images, g, b in zip(x, gamma, beta, strict=True):
            z = OWN[activation](F.batch_norm(images.permute(0, 3, 1, 2), None, None, g, b, training=True, eps=EPS))
            z = F.max_pool2d(z, 2, ceil_mode=True) if max_pool else z
            tasks.append(z.permute(0, 2, 3, 1))
        return torch.stack(tasks)

    return run


def second_order(function, tensors):
    """Return y, its gradients, and the gradients of those."""
    tensors = [t.detach().requires_grad_() for t in tensors]
    y = function(*tensors)
    generator = torch.Generator().manual_seed(9)

    def like(t):
        return torch.randn(t.shape, generator=generator, dtype=torch.float64).to(t.dtype)

    gy = like(y).requires_grad_()
    first = torch.autograd.grad(y, tensors, gy, create_graph=True)
    cotangents = [like(g) for g in first]
    # Without an activation nothing depends on beta any more.
    return y, *first, *torch.autograd.grad(first, (*tensors, gy), cotangents, materialize_grads=True)


def test_every_activation_of_the_space_has_a_kernel():
    assert set(ACTIVATION_CODES) == {*ACTIVATIONS, None} == set(OWN)


def test_codes_are_those_of_the_kernels():
    """Two lists in another order would compute one activation and call it another."""
    header = files("hnas_plugins.engine").joinpath("activations.h").read_text()
    named = re.findall(r"DO\((\w+), WITH\)(?! for)", header)
    assert [str(name).upper() for name in ACTIVATION_CODES] == named


@each_activation
@each_pool
def test_numerical_derivatives(activation, max_pool):
    tensors = [t.requires_grad_() for t in drawn((2, 2, 3, 3, 2))]
    assert gradcheck(fused(activation, max_pool), tensors)
    assert gradgradcheck(fused(activation, max_pool), tensors)


@each_activation
@each_pool
@pytest.mark.parametrize(
    "shape", [(3, 4, 5, 7, 3), (1, 3, 4, 4, 1), (2, 5, 1, 1, 6)], ids=lambda s: "x".join(map(str, s))
)
def test_torchs_own_operations(activation, max_pool, shape):
    """The order differs (activation after pooling), and the derivation of norm.py is by hand: it must not show."""
    mine = second_order(fused(activation, max_pool), drawn(shape))
    torchs = second_order(reference(activation, max_pool), drawn(shape))
    for a, b in zip(mine, torchs, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-8, atol=1e-9)


@each_activation
@each_pool
def test_float32(activation, max_pool):
    """In the type that trainings use, with its own exponential; on a batch as large as a query set's."""
    shape = (2, 75, 9, 9, 4)
    exact = second_order(reference(activation, max_pool), drawn(shape))
    for mine, expected in zip(
        second_order(fused(activation, max_pool), drawn(shape, dtype=torch.float32)), exact, strict=True
    ):
        assert mine.dtype == torch.float32
        off = (mine.double() - expected).abs() > 1e-3 * expected.abs().mean() + 1e-3 * expected.abs()
        # Rounding puts a few inputs on the other side of a kink, or makes another pixel the maximum.
        assert off.double().mean() < 1e-3


@pytest.mark.parametrize("offset", [0.0, 1e3, -1e4])
def test_statistics_do_not_cancel(offset):
    """A large mean over a small deviation; the sum of squares minus the square of the sum would lose all digits."""
    x = drawn((2, 20, 8, 8, 3), dtype=torch.float32)[0] + offset
    ones = torch.ones(2, 3)
    _, mean, rstd = norm_activation(x, ones, 0 * ones, activation="relu", max_pool=False, eps=EPS)
    var, expected = torch.var_mean(x.double(), dim=(1, 2, 3), correction=0)
    torch.testing.assert_close(mean.double(), expected, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(rstd.double(), (var + EPS).rsqrt(), rtol=1e-4, atol=0)


@each_activation
@each_pool
@pytest.mark.parametrize("where", [(1, 0, 0, 0, 1), (1, 2, 3, 1, 1)], ids=["first", "inner"])
@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["float32", "float64"])
def test_a_diverged_task_is_seen_and_leaves_the_others_alone(activation, max_pool, where, bad, dtype):
    """One overflow makes its channel NaN, as in torch; an activation that swallows NaN would hide it from the loss."""
    tensors = drawn((2, 3, 4, 5, 2), dtype=dtype)
    good = fused(activation, max_pool)(*tensors)
    tensors[0][where] = bad
    y = fused(activation, max_pool)(*tensors)
    assert y[1, ..., 1].isnan().all()
    assert torch.equal(y.isnan(), reference(activation, max_pool)(*tensors).isnan())
    assert torch.equal(y[0], good[0])
    tensors = [t.requires_grad_() for t in tensors]
    gx, dgamma, dbeta = torch.autograd.grad(fused(activation, max_pool)(*tensors).sum(), tensors)
    assert gx[1, ..., 1].isnan().all()
    assert gx[0].isfinite().all()
    assert dgamma[1, 1].isnan()
    assert dbeta[0].isfinite().all()


@each_activation
def test_gamma_or_beta_that_overflowed(activation):
    """The outer loop may blow these up first; infinite ones are what torch makes of them."""
    for bad in (float("nan"), float("inf")):
        x, gamma, beta = drawn((1, 3, 4, 4, 2))
        beta[0, 1] = bad
        mine, torchs = (way(activation, True)(x, gamma, beta) for way in (fused, reference))
        torch.testing.assert_close(mine, torchs, equal_nan=True)


@each_activation
def test_saturated_inputs(activation):
    """Far out the exponential of float32 must neither overflow nor turn NaN, in value, slope or curvature."""
    x, gamma, beta = drawn((1, 6, 4, 4, 3), dtype=torch.float32)
    gamma = torch.tensor([[1e4, -1e4, 60.0]])
    for result in second_order(fused(activation, False), (x, gamma, beta)):
        assert result.isfinite().all()


def test_strided_inputs_and_gradients():
    """Channels-first images, a gamma that tasks share, and the expanded gradient of a sum."""
    x = torch.randn(2, 3, 4, 5, 6, generator=torch.Generator().manual_seed(0), dtype=torch.float64).permute(
        0, 1, 3, 4, 2
    )
    gamma, beta = (t[:1].expand(2, 4) for t in drawn((2, 1, 1, 1, 4))[1:])
    tensors = [t.requires_grad_() for t in (x, gamma.detach(), beta.detach())]
    mine = torch.autograd.grad(fused("elu", True)(*tensors).sum(), tensors)
    torchs = torch.autograd.grad(reference("elu", True)(*tensors).sum(), tensors)
    for a, b in zip(mine, torchs, strict=True):
        torch.testing.assert_close(a, b)


def test_third_derivatives_are_refused():
    """They are not implemented; silence would mean zeros."""
    tensors = [t.requires_grad_() for t in drawn((1, 3, 2, 2, 2))]
    first = torch.autograd.grad(fused("elu", False)(*tensors).square().sum(), tensors[0], create_graph=True)[0]
    second = torch.autograd.grad(first.square().sum(), tensors[0], create_graph=True)[0]
    with pytest.raises(RuntimeError, match="once_differentiable"):
        second.square().sum().backward()


@pytest.mark.parametrize("wrong", ["dtype", "shape"])
def test_types_and_shapes_that_do_not_fit_are_refused(wrong):
    """The kernels get bare addresses: a float32 gamma beside a float64 x would be read past its end."""
    x, gamma, beta = drawn((2, 3, 4, 4, 5))
    gamma = gamma.float() if wrong == "dtype" else gamma[:, :4]
    with pytest.raises(ValueError, match=r"expected torch.float64 \(2, 5\)"):
        norm_activation(x, gamma, beta, activation="relu", max_pool=False, eps=EPS)


def test_a_graph_is_freed_as_soon_as_it_is_let_go():
    """A cycle through the saved tensors would keep every task's graph until the collector runs: gigabytes."""
    leaf, gamma, beta = (t.requires_grad_() for t in drawn((1, 3, 4, 4, 2)))
    gc.disable()
    try:
        x = leaf * 2
        y = fused("selu", True)(x, gamma, beta)
        (first,) = torch.autograd.grad(y.sum(), leaf, create_graph=True)
        kept = [weakref.ref(t) for t in (x, y, first)]
        del x, y, first
        assert [r() for r in kept] == [None] * 3
    finally:
        gc.enable()
