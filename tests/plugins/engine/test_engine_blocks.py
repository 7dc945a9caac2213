"""The fast path of whole networks is the plain one: logits, gradients, meta-gradients, statistics, and divergence."""

from contextlib import contextmanager

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from hnas import NormStats
from hnas_plugins.engine import blocks
from hnas_plugins.spaces.vgg9 import VGG9, VGG9Options

pytestmark = pytest.mark.usefixtures("kernels")


@contextmanager
def plain():
    """The plain blocks, whatever `library` remembers."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(blocks, "usable", lambda x, stats: False)
        yield


@st.composite
def networks(draw):
    """A random member of a random space, with task sizes from even to odd, and a seed."""
    options = VGG9Options(
        base_width=draw(st.integers(1, 8)),
        pool=draw(st.integers(1, 3)),
        downsample=draw(st.sampled_from(["stride", "pool"])),
    )
    space = VGG9(options)
    arch = space.sample(np.random.default_rng(draw(st.integers(0, 2**31))))
    shape = (draw(st.integers(1, 3)), draw(st.integers(3, 12)), draw(st.integers(3, 12)))
    return space, arch, shape, draw(st.integers(0, 2**31))


def case(network, tasks, dtype=torch.float64):
    """Return the super-net, weights of the sub-network with a task dimension, images and labels."""
    space, arch, shape, seed = network
    generator = torch.Generator().manual_seed(seed)
    supernet = space.supernet(shape, 3)

    def drawn(*size):
        return torch.randn(*size, generator=generator, dtype=torch.float64)

    params = {k: v + 0.3 * drawn(*v.shape) for k, v in supernet.init(generator).items()}
    shared = supernet.share(
        {k: torch.stack([v + 0.1 * drawn(*v.shape) for _ in range(tasks)]) for k, v in params.items()}, arch
    )
    x, y = drawn(tasks, 6, *shape), torch.randint(3, (tasks, 6), generator=generator)
    return supernet, {k: v.to(dtype) for k, v in shared.items()}, x.to(dtype), y


def passes(network, tasks):
    """Return logits, collected statistics, and the second-order gradient through an inner step."""
    supernet, shared, x, y = case(network, tasks)
    arch = network[1]
    leaves = {k: v.detach().requires_grad_() for k, v in shared.items()}
    stats = NormStats("collect")
    logits = supernet.forward_tasks(leaves, x, arch, stats=stats)
    inner = torch.autograd.grad(
        F.cross_entropy(logits.flatten(0, 1), y.flatten()), list(leaves.values()), create_graph=True
    )
    adapted = {k: v - 0.5 * g for (k, v), g in zip(leaves.items(), inner, strict=True)}
    outer = supernet.forward_tasks(adapted, x.flip(1), arch)
    gradient = torch.autograd.grad(F.cross_entropy(outer.flatten(0, 1), y.flatten()), list(leaves.values()))
    return [logits, *inner, *gradient, *stats.mean.values(), *stats.var.values()]


@settings(deadline=None, max_examples=40)
@given(networks(), st.integers(1, 3))
def test_the_fast_path_is_the_plain_path(network, tasks):
    fast = passes(network, tasks)
    with plain():
        slow = passes(network, tasks)
    for mine, expected in zip(fast, slow, strict=True):
        # The gradient of a convolution before a normalisation is small against its parts: hence the absolute term.
        torch.testing.assert_close(mine, expected, rtol=1e-6, atol=1e-8)


@settings(deadline=None, max_examples=40)
@given(networks())
def test_one_task_alone_is_a_batch_of_one(network):
    """`forward`, which the looped way takes, with statistics that lack the task dimension."""
    supernet, shared, x, _ = case(network, 1)
    one = {k: v[0] for k, v in shared.items()}
    alone, batch = NormStats("collect"), NormStats("collect")
    logits = supernet.forward(one, x[0], network[1], stats=alone)
    torch.testing.assert_close(logits, supernet.forward_tasks(shared, x, network[1], stats=batch)[0])
    with plain():
        torch.testing.assert_close(logits, supernet.forward(one, x[0], network[1]))
    assert list(alone.mean) == list(alone.var) == list(batch.mean)
    for name in alone.mean:
        torch.testing.assert_close(alone.mean[name], batch.mean[name][0])
        torch.testing.assert_close(alone.var[name], batch.var[name][0])


@settings(deadline=None, max_examples=30)
@given(networks())
def test_float32_logits(network):
    """Within what rounding explains; a normalisation over few pixels may magnify it, beside the plain path's error."""
    supernet, shared, x, _ = case(network, 2, torch.float32)
    exact = case(network, 2)
    with plain():
        expected = supernet.forward_tasks(exact[1], exact[2], network[1])
        plain_error = (supernet.forward_tasks(shared, x, network[1]) - expected).abs().max().item()
    error = (supernet.forward_tasks(shared, x, network[1]) - expected).abs().max().item()
    assert error < 1e-5 + 1e-5 * expected.abs().max().item() + 10 * plain_error


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["float32", "float64"])
@pytest.mark.parametrize("factor", [float("nan"), float("inf"), 1e30, 1e200])
def test_a_diverged_task_has_no_finite_logits_and_leaves_the_others_alone(factor, dtype):
    """Adapted weights that overflow must come out as NaN, squares included: a fine-looking loss would win a search."""
    space = VGG9(VGG9Options(base_width=4))
    network = (space, space.reference("maml++"), (1, 9, 9), 0)
    supernet, shared, x, _ = case(network, 3, dtype)
    good = supernet.forward_tasks(shared, x, network[1])
    shared["conv2.weight"][1] *= factor
    logits = supernet.forward_tasks(shared, x, network[1])
    harmless = factor == 1e30 and dtype == torch.float64  # a normalised layer does not mind
    assert logits[1].isfinite().all() if harmless else not logits[1].isfinite().any()
    torch.testing.assert_close(logits[[0, 2]], good[[0, 2]])


def test_which_passes_the_fast_path_serves():
    """Given statistics and other types and devices go the plain way, rather than be computed wrongly."""
    x = torch.zeros(1)
    assert blocks.usable(x, None)
    assert blocks.usable(x.double(), NormStats("collect"))
    assert not blocks.usable(x, NormStats("apply"))
    assert not blocks.usable(x.half(), None)
    assert not blocks.usable(torch.empty(1, device="meta"), None)
