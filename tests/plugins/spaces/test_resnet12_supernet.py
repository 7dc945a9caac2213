"""The super-net: its sub-networks are the plain residual networks, alone and in task batches."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from supernet_checks import MODULES, check_batched_tasks, check_statistics, count_macs, random_params, stacked_case
from torch import nn

from hnas_plugins.spaces.blocks.conv_layers import ACTIVATIONS
from hnas_plugins.spaces.resnet12 import ResNet12, ResNet12Options


class PlainBlock(nn.Module):
    """A residual block from torch's modules, as Table 8 describes it."""

    def __init__(self, channels, kernels, widths, activations):
        super().__init__()
        self.convs, self.norms, taken = nn.ModuleList(), nn.ModuleList(), channels
        for i, (kernel, width) in enumerate(zip(kernels, widths, strict=True)):
            self.convs.append(nn.Conv2d(taken, width, kernel, stride=1 if i else 2, padding=kernel // 2))
            self.norms.append(nn.BatchNorm2d(width))
            taken = width
        self.short, self.short_norm = nn.Conv2d(channels, taken, 1, stride=2), nn.BatchNorm2d(taken)
        self.activations = nn.ModuleList([MODULES[name]() for name in activations])

    def forward(self, x):
        y = self.activations[0](self.norms[0](self.convs[0](x)))
        y = self.activations[1](self.norms[1](self.convs[1](y)))
        y = self.norms[2](self.convs[2](y))
        return self.activations[2](y + self.short_norm(self.short(x)))


def plain_network(options, picked, params, channels, n_way):
    """Build the network that ``picked`` (choice name to option) names, and copy the super-net's weights into it.

    It is written from the paper's description and knows neither the space's blocks nor its layers.
    """
    blocks = []
    for b in range(1, picked.get("blocks", 4) + 1):
        base = options.base_width * 2 ** (b - 1)
        kernels = [picked[f"kernel{b}_{i}"] for i in (1, 2, 3)]
        widths = [max(1, round(base * picked.get(f"scale{b}_{i}", 1))) for i in (1, 2, 3)]
        activations = [picked[f"activation{b}_{i}"] for i in (1, 2, 3)]
        block, taken = PlainBlock(channels, kernels, widths, activations), channels

        def fill(conv, norm, name, taken, kernel, width, activation):
            full = params[f"conv{name}.weight"]
            edge = (full.shape[-1] - kernel) // 2
            conv.weight.data = full[:width, :taken, edge : edge + kernel, edge : edge + kernel].clone()
            nn.init.normal_(conv.bias)  # cancelled by the normalisation: any value must do
            for part in ("weight", "bias"):
                rows = params[f"norm{name}.{part}"]
                rows = rows[ACTIVATIONS.index(activation)] if options.norms == "activation" else rows
                getattr(norm, part).data = rows[:width].clone()

        fill(block.short, block.short_norm, f"{b}_short", taken, 1, widths[-1], activations[-1])
        for i in range(3):
            conv, norm = block.convs[i], block.norms[i]
            fill(conv, norm, f"{b}_{i + 1}", taken, kernels[i], widths[i], activations[i])
            taken = widths[i]
        blocks.append(block)
        channels = taken
    linear = nn.Linear(channels * options.pool**2, n_way)
    linear.weight.data = params["fc.weight"][:, :channels].reshape(n_way, -1).clone()
    linear.bias.data = params["fc.bias"].clone()
    return nn.Sequential(*blocks, nn.AdaptiveAvgPool2d(options.pool), nn.Flatten(), linear).double().train()


@st.composite
def cases(draw):
    """A space, a member of it, an input size, a number of classes and a seed."""
    options = ResNet12Options(
        base_width=draw(st.integers(1, 4)),
        ge=draw(st.booleans()),
        anl=draw(st.booleans()),
        pool=draw(st.integers(1, 2)),
        norms=draw(st.sampled_from(["shared", "activation"])),
    )
    space = ResNet12(options)
    picked = {choice.name: draw(st.sampled_from(choice.options)) for choice in space.choices}
    shape = (draw(st.integers(1, 3)), draw(st.integers(4, 20)), draw(st.integers(4, 20)))
    return space, space.architecture(**picked), shape, draw(st.integers(2, 6)), draw(st.integers(0, 2**31))


@settings(deadline=None, max_examples=60)
@given(cases())
def test_a_sub_network_is_the_plain_network_with_the_copied_weights(case):
    """Output, parameters and MACs, shortcuts and classifier included; additions fit for every width."""
    space, arch, shape, n_way, seed = case
    supernet = space.supernet(shape, n_way)
    params = random_params(supernet, seed)
    network = plain_network(space.settings, space.options(arch), params, shape[0], n_way)
    x = torch.randn(7, *shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    macs, expected = count_macs(network, x)
    torch.testing.assert_close(supernet.forward(supernet.share(params, arch), x, arch), expected, rtol=1e-7, atol=1e-7)
    layers = space.layers(arch, shape, n_way)
    assert sum(layer.params for layer in layers) == sum(p.numel() for p in network.parameters())
    assert sum(layer.macs for layer in layers) == macs == supernet.macs(arch)


def members(count=4):
    """Return random members of spaces with each option, spread by a fixed seed."""
    generator = np.random.default_rng(3)
    found = []
    for number in range(count):
        options = ResNet12Options(
            base_width=2, pool=1 + number % 2, ge=number % 3 > 0, anl=number % 2 == 1,
            norms=("shared", "activation")[number // 2 % 2],
        )  # fmt: skip
        space = ResNet12(options)
        found.append(pytest.param(space, space.sample(generator), id=f"{options.norms}-pool{options.pool}-{number}"))
    return found


@pytest.mark.parametrize("path", ["engine", "plain"])
@pytest.mark.parametrize(("space", "arch"), members())
def test_batched_tasks_agree_with_each_task_alone(space, arch, path, monkeypatch):
    """What meta-training uses the batch for, on the fast path and on that of other devices."""
    if path == "plain":
        monkeypatch.setattr("hnas_plugins.engine.blocks.usable", lambda x, stats: False)
    check_batched_tasks(space, arch, tasks=3)


@pytest.mark.parametrize(("space", "arch"), members())
def test_the_fast_path_agrees_with_the_plain_one(space, arch, monkeypatch):
    supernet, stacked, x, _ = stacked_case(space, arch, seed=2)
    fast = supernet.forward_tasks(stacked, x, arch)
    monkeypatch.setattr("hnas_plugins.engine.blocks.usable", lambda x, stats: False)
    torch.testing.assert_close(fast, supernet.forward_tasks(stacked, x, arch), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(("space", "arch"), members(2))
def test_statistics_collected_and_applied_give_the_same_logits(space, arch):
    """Per-step statistics of MAML++ and an exported model rest on this."""
    names, widths = [], []
    for b, block in enumerate(space.blocks(arch), 1):
        names += [f"norm{b}_{i}" for i in (1, 2, 3)] + [f"norm{b}_short"]
        widths += [c.width for c in block.convolutions] + [block.width]
    check_statistics(space, arch, names, widths)


@settings(deadline=None, max_examples=40)
@given(cases(), st.data())
def test_a_smaller_network_has_the_first_channels_and_the_centre_of_a_larger_one(case, data):
    """The prefix property of weight sharing: sharing in two steps, by way of a larger network, changes nothing."""
    space, small, shape, n_way, seed = case
    if space.settings.norms == "activation":  # its rows are gone after the first step
        return
    picked = space.options(small)
    larger = {}
    for choice in space.choices:
        smallest = picked.get(choice.name, choice.options[0])
        larger[choice.name] = data.draw(st.sampled_from(choice.options[choice.options.index(smallest) :]))
    if space.settings.ge and space.settings.anl:  # the classifier has the channels of the last block, whichever it is
        last, own = f"scale{larger['blocks']}_3", picked[f"scale{picked['blocks']}_3"]
        larger[last] = max(larger[last], own)
    supernet = space.supernet(shape, n_way)
    params = random_params(supernet, seed)
    direct = supernet.share(params, small)
    stepwise = supernet.share(supernet.share(params, space.architecture(**larger)), small)
    assert direct.keys() == stepwise.keys()
    assert all(torch.equal(direct[name], stepwise[name]) for name in direct)


def test_the_reference_network_starts_with_xaviers_bounds_and_ratios_of_one():
    """Of conv 2_2: 64 channels in and out, 3x3; of the shortcut of block 2: 32 in, 64 out."""
    space = ResNet12()
    supernet = space.supernet((3, 84, 84), 5)
    params = supernet.init(torch.Generator().manual_seed(0))
    assert list(params) == list(supernet.roles)
    shared = supernet.share(params, space.reference())
    fans = {"conv1_1.weight": 9 * (3 + 32), "conv2_2.weight": 9 * 128, "conv2_short.weight": 96, "fc.weight": 256 + 5}
    for name, fan in fans.items():
        assert shared[name].abs().max().item() == pytest.approx((6 / fan) ** 0.5, rel=0.02), name
    assert set(supernet.fan_ratios(space.reference()).values()) == {1.0}
    assert {n for n, role in supernet.roles.items() if role == "norm"} == {n for n in params if n.startswith("norm")}
    wide = space.architecture(**(space.options(space.reference()) | {"scale1_1": 2.0, "kernel1_2": 5}))
    ratios = supernet.fan_ratios(wide)
    assert ratios["conv1_2.weight"] == pytest.approx(2 * 25 / 9)
    assert ratios["conv1_3.weight"] == 1


def test_all_that_a_network_uses_learns():
    """Gradients reach every parameter of the blocks that there are, and no other."""
    space = ResNet12(ResNet12Options(base_width=2, anl=True))
    arch = space.architecture(blocks=2, kernel1_1=3, kernel2_3=5, activation1_1="elu", activation2_3="selu")
    supernet = space.supernet((2, 9, 9), 3)
    params = {k: v.requires_grad_() for k, v in random_params(supernet, 0).items()}
    x = torch.randn(5, 2, 9, 9, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    supernet.forward(supernet.share(params, arch), x, arch).square().sum().backward()
    learnt = {k for k, v in params.items() if v.grad is not None and v.grad.any()}
    names = [f"{b}_{i}" for b in (1, 2) for i in (1, 2, 3, "short")]
    parts = [f"conv{n}.weight" for n in names] + [f"norm{n}.{part}" for n in names for part in ("weight", "bias")]
    assert learnt == {*parts, "fc.weight", "fc.bias"}
