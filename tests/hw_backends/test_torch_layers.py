"""Layers as PyTorch modules: each does what its shapes, its parameters and its name say."""

import attrs
import pytest
import torch
from torch.nn import functional as F

from hnas import DeviceError, Layer, Registry
from hnas_backends.layerbench.lines import OPS
from hnas_backends.torch_layers import ACTIVATIONS, example, module, network

GRID = (4, 7, 5)


def space(**options):
    registry = Registry(third_party=False)
    return registry.create("space", "vgg9", registry.options_class("space", "vgg9")(base_width=8, **options))


def layers_of(downsample):
    return space(downsample=downsample, pool=2).distinct_layers((3, 21, 21), 5)


def same(op, **changes):
    return Layer(**{"op": op, "in_shape": GRID, "out_shape": GRID} | changes)


@pytest.fixture
def generator():
    return torch.Generator().manual_seed(0)


@pytest.mark.parametrize("downsample", ["stride", "pool"])
def test_every_layer_of_a_space_has_the_shape_and_the_parameters_that_it_declares(downsample, generator):
    """Another operation than the declared one is measured: no padding, another rounding, a missing bias."""
    layers = layers_of(downsample)
    assert {la.op for la in layers} >= {"conv2d", "norm", "avg_pool", "linear", *ACTIVATIONS}
    assert any(la.op == "max_pool" and la.in_shape[1] % 2 for la in layers) == (downsample == "pool")
    for layer in layers:
        made = module(layer)
        out = made(example(layer, 2, "cpu", generator))
        assert tuple(out.shape) == (2, *(layer.out_shape[:1] if layer.op == "linear" else layer.out_shape)), layer.key
        assert sum(p.numel() for p in made.parameters()) == layer.params, layer.key
        assert not out.requires_grad
        assert not made.training


@pytest.mark.parametrize("groups", [1, 2, 4])
def test_a_grouped_convolution_has_groups(groups, generator):
    """All groups were connected: several times the work."""
    layer = Layer(op="conv2d", in_shape=(4, 6, 6), out_shape=(8, 6, 6), kernel=3, padding=1, groups=groups)
    made, x = module(layer), example(layer, 1, "cpu", generator)
    assert sum(p.numel() for p in made.parameters()) == layer.params
    expected = F.conv2d(x, made.weight, None, padding=1, groups=groups)
    torch.testing.assert_close(made(x), expected)


@pytest.mark.parametrize(
    ("op", "function"),
    [
        ("relu", torch.relu),
        ("elu", F.elu),
        ("selu", torch.selu),
        ("sigmoid", torch.sigmoid),
        ("relu6", F.relu6),
        ("leakyrelu", F.leaky_relu),
    ],
)
def test_an_activation_is_the_one_that_its_name_says(op, function, generator):
    """Activations differ in cost several times, so a mixed-up name spoils a table."""
    x = 4 * example(same(op), 3, "cpu", generator)
    assert torch.equal(module(same(op))(x), function(x))


def test_a_pooling_without_a_remainder_or_with_rounding_down_is_told_from_the_shapes(generator):
    """Maps of odd size would come out a pixel larger or smaller than the next layer takes."""
    for out in ((4, 4, 3), (4, 3, 2)):
        layer = Layer(op="max_pool", in_shape=GRID, out_shape=out, kernel=2, stride=2)
        assert tuple(module(layer)(example(layer, 1, "cpu", generator)).shape) == (1, *out)


def test_an_addition_reads_a_second_map(generator):
    """Adding a map to itself would read half as much."""
    made, x = module(same("add")), example(same("add"), 2, "cpu", generator)
    assert torch.equal(made(x), x + 1)
    assert made(x[:1]).shape == (1, *GRID)
    assert made._held.data_ptr() != x.data_ptr()


def test_a_normalisation_uses_fixed_statistics(generator):
    """In training mode each call would compute statistics, which a deployed network does not."""
    x = 3 + example(same("norm"), 2, "cpu", generator)
    torch.testing.assert_close(module(same("norm"))(x), x / (1 + 1e-5) ** 0.5)


@pytest.mark.parametrize("downsample", ["stride", "pool"])
def test_a_whole_network_runs_and_keeps_its_scale(downsample, generator):
    """The layers of a network are not chained, or values vanish: denormal numbers are a hundred times slower."""
    a_space = space(downsample=downsample, pool=2)
    layers = a_space.layers(a_space.largest(), (3, 21, 21), 5)
    made = network(layers)
    out = made(example(layers[0], 2, "cpu", generator))
    assert tuple(out.shape) == (2, 5)
    assert 1e-3 < out.abs().max() < 1e3
    assert sum(p.numel() for p in made.parameters()) == sum(la.params for la in layers)


def test_layers_that_do_not_fit_are_named():
    """A network of another shape would be measured, or torch's own error shown."""
    with pytest.raises(DeviceError, match=r"layer 2 .*takes 4x6x5: the one before gives 4x7x5"):
        network([same("relu"), Layer(op="relu", in_shape=(4, 6, 5), out_shape=(4, 6, 5))])


def test_a_residual_network_adds_its_branches(generator):
    """The shortcut has to read the block's input: by hand, from the modules of the layers."""
    block = Layer(op="conv2d", in_shape=(3, 8, 8), out_shape=(5, 4, 4), kernel=3, stride=2, padding=1)
    short = Layer(op="conv2d", in_shape=(3, 8, 8), out_shape=(5, 4, 4), kernel=1, stride=2)
    maps = {"in_shape": (5, 4, 4), "out_shape": (5, 4, 4)}
    layers = [block, Layer(op="elu", **maps), short, Layer(op="add", **maps), Layer(op="relu", **maps)]
    made = network(layers)
    x = example(block, 2, "cpu", generator)
    expected = F.relu(module(short)(x) + F.elu(module(block)(x)))
    for _ in range(2):  # nothing is kept from the first call
        torch.testing.assert_close(made(x), expected)


def test_a_dilated_window_is_spread(generator):
    """Without its dilation a convolution has the output of another padding, and reads other pixels."""
    conv = same("conv2d", kernel=3, padding=2, dilation=2, groups=4)
    made, x = module(conv), example(conv, 1, "cpu", generator)
    torch.testing.assert_close(made(x), F.conv2d(x, made.weight, None, padding=2, dilation=2, groups=4))
    for out in ((4, 2, 1), (4, 1, 1)):
        pool = same("max_pool", kernel=3, stride=3, dilation=2, out_shape=out)
        assert torch.equal(module(pool)(x), F.max_pool2d(x, 3, 3, dilation=2, ceil_mode=out[1] == 2))


def test_a_cell_joins_what_its_layers_say(generator):
    """By hand: two branches read the input, and a third the first one; two are added, and then all are joined."""
    left, right = (same("conv2d", kernel=k, padding=k // 2) for k in (1, 3))
    total = attrs.evolve(same("add"), reads=(1, 2, 2))
    layers = [
        left,
        attrs.evolve(right, reads=(2,)),
        total,
        same("concat", in_shape=(12, 7, 5), out_shape=(12, 7, 5), reads=(3, 1, 4)),
    ]
    x = example(left, 2, "cpu", generator)
    a, b = module(left)(x), module(right)(x)
    torch.testing.assert_close(network(layers)(x), torch.cat((a, b + a + a, x), 1))


def test_a_concatenation_alone_copies_the_joined_map(generator):
    for channels in (2, 5):
        joined = same("concat", in_shape=(channels, 4, 3), out_shape=(channels, 4, 3))
        x = example(joined, 2, "cpu", generator)
        found = module(joined)(x)
        assert torch.equal(found, x)
        assert found.data_ptr() != x.data_ptr()


def test_an_unknown_operation_is_refused_with_what_is_known():
    """A space with an operation of its own gets an AttributeError."""
    with pytest.raises(DeviceError) as error:
        module(same("leaky_relu", counts=(0, 0)))
    assert "'leaky_relu'" in str(error.value)
    assert "Did you mean 'leakyrelu'" in str(error.value)
    assert all(op in str(error.value) for op in OPS)


def test_weights_depend_on_the_layer_alone():
    """Torch's global generator is drawn from, so a measurement changes what a user's program computes."""
    layer = Layer(op="conv2d", in_shape=(4, 6, 6), out_shape=(8, 6, 6), kernel=3, padding=1, bias=True)
    before = torch.get_rng_state()
    first, second = module(layer), module(layer)
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(first.weight, second.weight)
    assert torch.equal(first.bias, second.bias)
