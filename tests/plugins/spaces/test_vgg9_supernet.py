"""The super-net: its sub-networks are the plain networks, alone and in task batches, also differentiated twice."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from supernet_checks import MODULES, check_batched_tasks, check_statistics, count_macs, random_params, stacked_case
from torch import nn

from hnas_plugins.spaces.vgg9 import VGG9, VGG9Options


def plain_network(options, picked, params, channels, n_way):
    """Build the network that ``picked`` (choice name to option) names from torch's modules, and copy weights into it.

    It is written from the paper's description and knows neither the space's blocks nor its layers.
    """
    modules = []
    for i in range(1, picked.get("depth", 4) + 1):
        kernel = picked[f"kernel{i}"]
        width = max(1, round(options.base_width * picked.get(f"scale{i}", 1)))
        stride = 2 if options.downsample == "stride" else 1
        conv = nn.Conv2d(channels, width, kernel, stride=stride, padding=kernel // 2, bias=True)
        norm = nn.BatchNorm2d(width)
        edge = (5 - kernel) // 2
        full = params[f"conv{i}.weight"]
        conv.weight.data = full[:width, :channels, edge : 5 - edge, edge : 5 - edge].clone()
        nn.init.normal_(conv.bias)  # cancelled by the normalisation: any value must do
        norm.weight.data = params[f"norm{i}.weight"][:width].clone()
        norm.bias.data = params[f"norm{i}.bias"][:width].clone()
        modules += [conv, norm, MODULES[picked[f"activation{i}"]]()]
        if options.downsample == "pool":
            modules.append(nn.MaxPool2d(2, ceil_mode=True))
        channels = width
    linear = nn.Linear(channels * options.pool**2, n_way)
    linear.weight.data = params["fc.weight"][:, :channels].reshape(n_way, -1).clone()
    linear.bias.data = params["fc.bias"].clone()
    modules += [nn.AdaptiveAvgPool2d(options.pool), nn.Flatten(), linear]
    return nn.Sequential(*modules).double().train()


@st.composite
def cases(draw):
    """A space, a member of it, an input size, a number of classes and a seed."""
    options = VGG9Options(
        base_width=draw(st.integers(2, 8)),
        ge=draw(st.booleans()),
        anl=draw(st.booleans()),
        pool=draw(st.integers(1, 3)),
        downsample=draw(st.sampled_from(["stride", "pool"])),
    )
    space = VGG9(options)
    picked = {choice.name: draw(st.sampled_from(choice.options)) for choice in space.choices}
    shape = (draw(st.integers(1, 3)), draw(st.integers(4, 14)), draw(st.integers(4, 14)))
    return space, space.architecture(**picked), shape, draw(st.integers(2, 6)), draw(st.integers(0, 2**31))


@settings(deadline=None, max_examples=100)
@given(cases())
def test_a_sub_network_is_the_plain_network_with_the_copied_weights(case):
    """Output, parameters and MACs; the module's convolutions have random biases, the super-net's none."""
    space, arch, shape, n_way, seed = case
    supernet = space.supernet(shape, n_way)
    params = random_params(supernet, seed)
    network = plain_network(space.settings, space.options(arch), params, shape[0], n_way)
    x = torch.randn(7, *shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    macs, expected = count_macs(network, x)
    torch.testing.assert_close(supernet.forward(supernet.share(params, arch), x, arch), expected, rtol=1e-8, atol=1e-8)
    layers = space.layers(arch, shape, n_way)
    assert sum(layer.params for layer in layers) == sum(p.numel() for p in network.parameters())
    assert sum(layer.macs for layer in layers) == macs


def members(count=6):
    """Return random members of spaces with each option, spread by a fixed seed."""
    generator = np.random.default_rng(3)
    found = []
    for number in range(count):
        options = VGG9Options(
            base_width=4, pool=1 + number % 2, ge=number % 3 > 0, downsample=("stride", "pool")[number // 2 % 2]
        )
        space = VGG9(options)
        name = f"{options.downsample}-pool{options.pool}-{number}"
        found.append(pytest.param(space, space.sample(generator), id=name))
    return found


@pytest.mark.parametrize("tasks", [1, 3])
@pytest.mark.parametrize(("space", "arch"), members())
def test_batched_tasks_agree_with_each_task_alone(space, arch, tasks):
    """What meta-training uses the batch for."""
    check_batched_tasks(space, arch, tasks)


def test_tasks_may_share_one_set_of_weights():
    """Before the first inner step all tasks have the same weights, passed as an expanded view."""
    space = VGG9(VGG9Options(base_width=4, pool=2))
    arch = space.reference()
    supernet, stacked, x, _ = stacked_case(space, arch, seed=2)
    one = {name: value[0] for name, value in stacked.items()}
    expanded = {name: value.expand(3, *value.shape) for name, value in one.items()}
    logits = supernet.forward_tasks(expanded, x, arch)
    for t in range(3):
        torch.testing.assert_close(logits[t], supernet.forward(one, x[t], arch))


def test_a_whole_network_passes_the_numerical_second_derivative():
    """Through `share`, so a view that lost its graph shows; small, since the check is quadratic in the weights."""
    space = VGG9(VGG9Options(base_width=1, pool=2))
    arch = space.architecture(depth=2, kernel1=3, kernel2=1, scale1=2.0, activation1="sigmoid", activation2="elu")
    supernet = space.supernet((1, 5, 5), 2)
    params = random_params(supernet, 5)
    x = torch.randn(5, 1, 5, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    names = ["conv1.weight", "norm1.weight", "conv2.weight", "norm2.bias", "fc.weight", "fc.bias"]

    def logits(*values):
        shared = supernet.share({**params, **dict(zip(names, values, strict=True))}, arch)
        return supernet.forward(shared, x, arch)

    values = tuple(params[name].requires_grad_() for name in names)
    assert torch.autograd.gradcheck(logits, values)
    assert torch.autograd.gradgradcheck(logits, values)


@pytest.mark.parametrize(("space", "arch"), members(4))
def test_statistics_collected_and_applied_give_the_same_logits(space, arch):
    """Per-step statistics of MAML++ and an exported model rest on this."""
    blocks = space.blocks(arch)
    check_statistics(space, arch, [f"norm{i}" for i in range(1, len(blocks) + 1)], [b.width for b in blocks])


@settings(deadline=None, max_examples=50)
@given(cases(), st.data())
def test_a_smaller_network_has_the_first_channels_and_the_centre_of_a_larger_one(case, data):
    """The prefix property of weight sharing: sharing in two steps, by way of a larger network, changes nothing."""
    space, small, shape, n_way, seed = case
    picked = space.options(small)
    larger = {}
    for choice in space.choices:
        smallest = picked.get(choice.name, choice.options[0])
        larger[choice.name] = data.draw(st.sampled_from(choice.options[choice.options.index(smallest) :]))
    if space.settings.ge:  # the classifier has the channels of the last layer, whichever that is
        last = f"scale{larger.get('depth', 4)}"
        larger[last] = max(larger[last], picked[f"scale{picked.get('depth', 4)}"])
    large = space.architecture(**larger)
    supernet = space.supernet(shape, n_way)
    params = random_params(supernet, seed)
    direct = supernet.share(params, small)
    stepwise = supernet.share(supernet.share(params, large), small)
    assert direct.keys() == stepwise.keys()
    assert all(torch.equal(direct[name], stepwise[name]) for name in direct)


def test_share_returns_views_of_what_the_network_uses():
    """Unused layers must stay out of the inner loop, and a copy would cut the meta-gradient."""
    space = VGG9(VGG9Options(base_width=8, pool=2))
    supernet = space.supernet((1, 28, 28), 5)
    params = supernet.init(torch.Generator().manual_seed(0))
    arch = space.architecture(depth=2, kernel1=3, scale1=0.5, kernel2=1, scale2=1.5)
    shared = supernet.share(params, arch)
    assert {name: tuple(value.shape) for name, value in shared.items()} == {
        "conv1.weight": (4, 1, 3, 3),
        "norm1.weight": (4,),
        "norm1.bias": (4,),
        "conv2.weight": (12, 4, 1, 1),
        "norm2.weight": (12,),
        "norm2.bias": (12,),
        "fc.weight": (5, 12, 4),
        "fc.bias": (5,),
    }
    assert all(
        value.untyped_storage().data_ptr() == params[n].untyped_storage().data_ptr() for n, value in shared.items()
    )
    assert torch.equal(shared["conv2.weight"][..., 0, 0], params["conv2.weight"][:12, :4, 2, 2])


def test_share_leaves_leading_dimensions_alone():
    """MAML++ keeps gamma and beta per inner step, and adapted weights per task."""
    space = VGG9(VGG9Options(base_width=8, pool=2))
    supernet = space.supernet((1, 28, 28), 5)
    params = supernet.init(torch.Generator().manual_seed(0))
    arch = space.sample(np.random.default_rng(1))
    plain = supernet.share(params, arch)
    stacked = supernet.share({name: torch.stack([value, 2 * value]) for name, value in params.items()}, arch)
    for name, value in plain.items():
        assert torch.equal(stacked[name], torch.stack([value, 2 * value]))


def test_init_is_the_generators_and_names_roles_in_order():
    """Same seed, same weights; and only gamma and beta are kept out of the inner loop."""
    space = VGG9()
    supernet = space.supernet((3, 84, 84), 5)
    params = supernet.init(torch.Generator().manual_seed(7))
    again = supernet.init(torch.Generator().manual_seed(7))
    other = supernet.init(torch.Generator().manual_seed(8))
    assert list(params) == list(supernet.roles)
    assert all(torch.equal(params[name], again[name]) and params[name].dtype == torch.float32 for name in params)
    assert not torch.equal(params["conv1.weight"], other["conv1.weight"])
    assert {name for name, role in supernet.roles.items() if role == "norm"} == {
        f"norm{i}.{part}" for i in range(1, 5) for part in ("weight", "bias")
    }


def test_the_reference_network_starts_as_maml_plus_plus_does():
    """Xavier-uniform at its own size: of conv 2, fans 64×9 on both sides; of the classifier, 64 in and 20 out."""
    space = VGG9()
    shared = space.supernet((1, 28, 28), 20).share(
        space.supernet((1, 28, 28), 20).init(torch.Generator().manual_seed(0)), space.reference("maml++-omniglot")
    )
    for name, fans in {"conv1.weight": 9 + 64 * 9, "conv2.weight": 2 * 64 * 9, "fc.weight": 64 + 20}.items():
        assert shared[name].abs().max().item() == pytest.approx((6 / fans) ** 0.5, rel=0.02), name
    assert not shared["fc.bias"].any()
    assert shared["norm1.weight"].eq(1).all()
    assert not shared["norm1.bias"].any()


def test_float32_stays_float32():
    space = VGG9(VGG9Options(base_width=4))
    supernet = space.supernet((1, 28, 28), 5)
    arch = space.reference()
    shared = supernet.share(supernet.init(torch.Generator().manual_seed(0)), arch)
    x = torch.rand(10, 1, 28, 28, generator=torch.Generator().manual_seed(0))
    logits = supernet.forward(shared, x, arch)
    assert logits.dtype == torch.float32
    assert logits.shape == (10, 5)
    stacked = {name: value[None] for name, value in shared.items()}
    torch.testing.assert_close(supernet.forward_tasks(stacked, x[None], arch)[0], logits)
