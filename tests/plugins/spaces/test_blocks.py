"""The building blocks: for one task against torch's own modules, for many tasks against one at a time."""

import pytest
import torch
from torch import nn

from hnas import NormStats
from hnas_plugins.spaces.blocks import plain as blocks
from hnas_plugins.spaces.blocks.conv_layers import ACTIVATIONS

T, N, C, OUT = 3, 4, 2, 5


@pytest.fixture
def generator():
    return torch.Generator().manual_seed(0)


def weights(generator, kernel, lead=()):
    def draw(*shape):
        return torch.randn(*lead, *shape, generator=generator, dtype=torch.float64)

    return draw(OUT, C, kernel, kernel), draw(OUT), draw(OUT)


def test_the_activations_are_those_that_the_space_offers():
    """An activation that the space lists and the network lacks would fail in the middle of a training."""
    assert tuple(blocks.ACTIVATIONS) == (*ACTIVATIONS, None)


@pytest.mark.parametrize(
    ("name", "module"),
    [
        ("relu", nn.ReLU()),
        ("elu", nn.ELU()),
        ("selu", nn.SELU()),
        ("sigmoid", nn.Sigmoid()),
        ("relu6", nn.ReLU6()),
        ("leakyrelu", nn.LeakyReLU(0.01)),
    ],
)
def test_activations_are_torchs_own(name, module):
    x = torch.linspace(-9, 9, 101)
    assert torch.equal(blocks.ACTIVATIONS[name](x), module(x))


@pytest.mark.parametrize(("stride", "max_pool"), [(1, False), (2, False), (1, True)])
@pytest.mark.parametrize("kernel", [1, 3, 5])
def test_the_grouped_block_is_the_block_of_each_task(generator, kernel, stride, max_pool):
    """Groups mixed up, or statistics taken over all tasks, would leak one task into another."""
    x = torch.randn(T, N, C, 7, 6, generator=generator, dtype=torch.float64)
    stacked = weights(generator, kernel, (T,))
    how = {"activation": "elu", "stride": stride, "max_pool": max_pool, "norm": "norm1"}
    together = NormStats("collect")
    out = blocks.conv_norm_activation(blocks.group_tasks(x), *stacked, stats=together, **how)
    for t in range(T):
        alone = NormStats("collect")
        one = blocks.conv_norm_activation(x[t], *(w[t] for w in stacked), stats=alone, **how)
        torch.testing.assert_close(out[:, t * OUT : (t + 1) * OUT], one)
        torch.testing.assert_close(together.mean["norm1"][t], alone.mean["norm1"])
        torch.testing.assert_close(together.var["norm1"][t], alone.var["norm1"])


def test_collected_statistics_are_the_mean_and_the_biased_variance(generator):
    """MAML++ keeps these per step; an unbiased variance would not reproduce the same output."""
    x = torch.randn(N, C, 6, 6, generator=generator, dtype=torch.float64)
    weight, gamma, beta = (w.requires_grad_() for w in weights(generator, 1))
    stats = NormStats("collect")
    how = {"activation": "relu", "stride": 1, "max_pool": False, "norm": "n"}
    blocks.conv_norm_activation(x, weight, gamma, beta, stats=stats, **how)
    maps = nn.functional.conv2d(x, weight)
    torch.testing.assert_close(stats.mean["n"], maps.mean((0, 2, 3)))
    torch.testing.assert_close(stats.var["n"], maps.var((0, 2, 3), correction=0))
    assert not stats.mean["n"].requires_grad
    assert not stats.var["n"].requires_grad


@pytest.mark.parametrize("pool", [1, 2, 5])
def test_the_classifier_of_many_tasks_is_that_of_each(generator, pool):
    """Also where the map (3×3) is smaller than the pooling: it is then spread, as torch does."""
    x = torch.randn(T, N, C, 3, 3, generator=generator, dtype=torch.float64)
    weight = torch.randn(T, 6, C, pool**2, generator=generator, dtype=torch.float64)
    bias = torch.randn(T, 6, generator=generator, dtype=torch.float64)
    out = blocks.pool_linear_tasks(blocks.group_tasks(x), weight, bias, pool)
    assert out.shape == (T, N, 6)
    for t in range(T):
        module = nn.Sequential(nn.AdaptiveAvgPool2d(pool), nn.Flatten(), nn.Linear(C * pool**2, 6).double())
        module[2].weight.data, module[2].bias.data = weight[t].flatten(1), bias[t]
        torch.testing.assert_close(out[t], module(x[t]))
        torch.testing.assert_close(blocks.pool_linear(x[t], weight[t], bias[t], pool), module(x[t]))


@pytest.mark.parametrize("activation", [*ACTIVATIONS, None])
def test_blocks_are_twice_differentiable(generator, activation):
    """MAML differentiates through an inner gradient; a detach or a once-differentiable operation would be silent."""
    x = torch.randn(3, C, 4, 4, generator=generator, dtype=torch.float64)
    inputs = [w.requires_grad_() for w in weights(generator, 3)]

    def block(weight, gamma, beta):
        how = {"activation": activation, "stride": 2, "max_pool": False, "norm": "n"}
        return blocks.conv_norm_activation(x, weight, gamma, beta, stats=NormStats("collect"), **how)

    assert torch.autograd.gradcheck(block, inputs)
    assert torch.autograd.gradgradcheck(block, inputs)


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_layers_of_one_channel_have_the_right_gradient(layout):
    """torch's own batch normalisation ignores the strides that gammas and betas of one channel have here."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(4, T, 3, 3, generator=generator, dtype=torch.float64).to(memory_format=layout).requires_grad_()
    weight = torch.ones(T, 1, 1, 1, 1, dtype=torch.float64)
    gamma, beta = (torch.randn(T, 9, generator=generator, dtype=torch.float64)[:, :1] for _ in "gb")
    how = {"activation": "elu", "stride": 1, "max_pool": False, "norm": "norm1", "stats": None}
    seed = torch.randn(4, T, 3, 3, generator=generator, dtype=torch.float64).to(memory_format=layout)
    (mine,) = torch.autograd.grad(blocks.conv_norm_activation(x, weight, gamma, beta, **how), x, seed)
    for t in range(T):
        one = blocks.conv_norm_activation(x[:, t : t + 1], weight[t], gamma[t].clone(), beta[t].clone(), **how)
        torch.testing.assert_close(mine[:, t], torch.autograd.grad(one, x, seed[:, t : t + 1])[0][:, t])


@pytest.mark.parametrize("size", [1, 3])
def test_given_statistics_of_one_channel_are_those_of_each_task(size):
    """Strided, or shared by the tasks; the backward pass of torch's batch normalisation reads past them."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(4, T, size, size, generator=generator).requires_grad_()
    weight, gamma, beta = torch.ones(T, 1, 1, 1, 1), torch.ones(T, 1), torch.zeros(T, 1)
    how = {"activation": "elu", "stride": 1, "max_pool": False, "norm": "norm1"}
    rows = 0.5 + torch.rand(2, T, 9, generator=generator)
    for mean, var in (rows[:, :, :1], rows[:, :1, :1].expand(2, T, 1)):
        given = NormStats("apply", {"norm1": mean}, {"norm1": var})
        out = blocks.conv_norm_activation(x, weight, gamma, beta, stats=given, **how)
        expected = nn.functional.elu((x - mean[:, :, None]) / (var[:, :, None] + 1e-5).sqrt())
        torch.testing.assert_close(out, expected)
        mine, by_hand = (torch.autograd.grad(y.square().sum(), x)[0] for y in (out, expected))
        torch.testing.assert_close(mine, by_hand, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize(("channels", "filters", "size"), [(4, 1, 4), (1, 128, 28), (3, 64, 9)])
def test_a_strided_pointwise_convolution_gives_the_same_each_time(channels, filters, size, layout):
    """torch's own, in float32, writes past its workspace here: a crash, or other tensors destroyed."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(6, channels, size, size, generator=generator).to(memory_format=layout).requires_grad_()
    weight = torch.randn(filters, channels, 1, 1, generator=generator).to(memory_format=layout).requires_grad_()
    gamma, beta = torch.rand(filters, generator=generator), torch.randn(filters, generator=generator)
    how = {"activation": "elu", "max_pool": False, "norm": "norm1", "stats": None}

    def run(x, weight, stride):
        y = blocks.conv_norm_activation(x, weight, gamma.to(x.dtype), beta.to(x.dtype), stride=stride, **how)
        return y, *torch.autograd.grad(y.square().sum(), (x, weight))

    exact = run(x.double()[..., ::2, ::2], weight.double(), 1)
    seen = []
    for number in range(20):
        kept = [torch.full((97 * number + n,), 7.0) for n in range(1, 20)]  # to be hit by what is written outside
        y, gx, gw = run(x, weight, 2)
        seen.append(y)
        torch.testing.assert_close(y.double(), exact[0], rtol=1e-3, atol=1e-4)
        torch.testing.assert_close(gx[..., ::2, ::2].double(), exact[1], rtol=1e-3, atol=1e-2)
        torch.testing.assert_close(gw.double(), exact[2], rtol=1e-3, atol=1e-2)
        assert all((k == 7).all() for k in kept)
    assert all(torch.equal(y, seen[0]) for y in seen)
