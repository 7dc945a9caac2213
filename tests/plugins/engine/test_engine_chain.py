"""Gradients by hand: those of autograd through the plain network, and nothing computed that adaption does not need."""

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from hnas import SuperNet
from hnas_plugins.engine import conv
from hnas_plugins.engine.chain import classifier_gradients
from hnas_plugins.engine.norm import Norm
from hnas_plugins.meta_learners.inner_loop import Learned, adapted
from hnas_plugins.spaces.vgg9 import ACTIVATIONS, VGG9, VGG9Options

pytestmark = pytest.mark.usefixtures("kernels")


def drawn_params(supernet, arch, tasks, generator):
    """Draw every parameter in float64 and cut out the sub-network's; each task has its own."""
    params = {
        k: 0.5 * torch.randn(tasks, *v.shape, generator=generator, dtype=torch.float64) + k.startswith("norm")
        for k, v in supernet.init(generator).items()
    }
    return supernet.share(params, arch)


@pytest.mark.parametrize("downsample", ["stride", "pool"])
@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("pool", [1, 2])
@pytest.mark.parametrize("shared", [False, True], ids=["own", "shared"])
def test_gradients_are_those_of_autograd(monkeypatch, downsample, activation, pool, shared):
    space = VGG9(VGG9Options(base_width=4, downsample=downsample, pool=pool))
    supernet = space.supernet((2, 9, 7), 3)
    picked = {f"activation{i}": activation for i in range(1, 4)}
    arch = space.architecture(depth=3, kernel1=5, kernel2=1, kernel3=3, scale1=0.75, scale3=1.5, **picked)
    generator = torch.Generator().manual_seed(3)
    params = drawn_params(supernet, arch, 1 if shared else 3, generator)
    params = {k: v.expand(3, *v.shape[1:]) for k, v in params.items()}
    x = torch.randn(3, 6, 2, 9, 7, generator=generator, dtype=torch.float64)
    y = torch.tensor([[0, 0, 1, 1, 2, 2]] * 3)
    found = supernet.gradients(params, x, y, arch)
    monkeypatch.setenv("HNAS_ENGINE", "plain")
    monkeypatch.setattr("hnas_plugins.engine.blocks.usable", lambda x, stats: False)
    expected = SuperNet.gradients(supernet, params, x, y, arch)
    assert found.keys() == expected.keys() == {k for k in params if not k.startswith("norm")}
    for name in expected:
        torch.testing.assert_close(found[name], expected[name])
        assert not found[name].requires_grad


@pytest.mark.parametrize("pool", [1, 2, 3, 5])
def test_a_classifiers_gradients_are_those_of_autograd(pool):
    """Pools that divide the map, that do not, and that are larger than it."""
    generator = torch.Generator().manual_seed(5)
    x, weight, bias = (
        torch.randn(*shape, generator=generator, dtype=torch.float64, requires_grad=True)
        for shape in ((2, 6, 4, 3, 5), (2, 3, 5, pool**2), (2, 3))
    )
    y = torch.tensor([[0, 1, 2, 2, 1, 0], [0, 0, 1, 1, 2, 2]])
    loss = torch.zeros((), dtype=torch.float64)
    for t in range(2):
        maps = F.adaptive_avg_pool2d(x[t].permute(0, 3, 1, 2), pool)
        loss = loss + F.cross_entropy(F.linear(maps.flatten(1), weight[t].flatten(1), bias[t]), y[t])
    expected = torch.autograd.grad(loss, (x, weight, bias))
    for ours, theirs in zip(
        classifier_gradients(*(v.detach() for v in (x, weight, bias)), y, pool), expected, strict=True
    ):
        torch.testing.assert_close(ours, theirs)


def test_a_gradient_may_take_the_place_of_what_it_is_of():
    generator = torch.Generator().manual_seed(7)
    for max_pool in (False, True):
        x = torch.randn(2, 3, 5, 4, 19, generator=generator)
        gamma, beta = torch.randn(2, 19, generator=generator), torch.randn(2, 19, generator=generator)
        y, kept = Norm.forward(x, gamma, beta, 1, max_pool, 1e-5)
        gy = torch.randn(y.shape, generator=generator)
        expected = kept.backward(gy)
        found = kept.backward(gy, overwrite=True)
        assert found[0].data_ptr() == x.data_ptr()
        for ours, theirs in zip(found, expected, strict=True):
            assert torch.equal(ours, theirs)


@pytest.fixture
def calls(monkeypatch):
    """Record every product of a convolution: its name, and over how many tasks it ran as one."""
    made = []
    real = conv._call

    def recording(product, g, a, b, out, t, n, strides=()):
        made.append((product, t, n))
        real(product, g, a, b, out, t, n, strides=strides)

    monkeypatch.setattr(conv, "_call", recording)
    return made


def adapt_small(tasks):
    """Take two gradient steps of a network of three layers on some tasks at once."""
    space = VGG9(VGG9Options(base_width=4))
    supernet = space.supernet((1, 8, 8), 2)
    arch = space.sample(np.random.default_rng(0))
    arch = space.architecture(**{**space.options(arch), "depth": 3})
    generator = torch.Generator().manual_seed(0)
    params = supernet.share(supernet.init(generator), arch)
    weights = {k: v for k, v in params.items() if supernet.roles[k] == "weight"}
    norms = [{k: v for k, v in params.items() if supernet.roles[k] == "norm"}] * 2
    rates = {k: torch.full((2,), 0.1) for k in weights}
    x = torch.randn(tasks, 4, 1, 8, 8, generator=generator)
    y = torch.tensor([[0, 0, 1, 1]] * tasks)
    return adapted(supernet, arch, Learned(weights=weights, norms=norms, rates=rates).for_tasks(tasks), x, y, None)


def test_no_gradient_of_the_images_is_computed(calls):
    """Of three layers, the first has no use for one."""
    adapt_small(tasks=2)
    counts = {name: sum(c[0] == name for c in calls) for name in ("conv_forward", "conv_weight", "conv_data")}
    assert counts == {"conv_forward": 6, "conv_weight": 6, "conv_data": 4}


def test_the_first_step_is_one_product_over_all_tasks(calls):
    """All of them share its weights, which are then packed once; from the second step on each has its own."""
    adapt_small(tasks=5)
    shared = [c for c in calls if c[0] != "conv_weight"]
    assert {c[1:] for c in shared[:5]} == {(1, 20)}
    assert {c[1:] for c in shared[5:]} == {(5, 4)}


def test_a_task_is_adapted_alike_alone_and_in_company():
    """To the last bit: what was scored before is remembered, whatever it was scored with."""
    together = adapt_small(tasks=4)
    alone = adapt_small(tasks=1)
    for name in together:
        assert torch.equal(together[name][:1], alone[name]), name
