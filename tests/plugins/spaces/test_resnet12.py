"""The ResNet12 space: its counts, its layers, its switches. Golden numbers are those of the paper."""

import subprocess
import sys
from itertools import pairwise

import numpy as np
import pytest

from hnas import ConfigError
from hnas_app.search.sizes import printed_size, true_size
from hnas_plugins.spaces.resnet12 import ResNet12, ResNet12Options
from hnas_plugins.spaces.resnet12.space import SCALES

MINI = (3, 84, 84)
CIFAR = (3, 32, 32)


def test_the_size_is_that_of_table_8():
    """108 to the twelfth, printed as 2.518e24; without ANL every genotype is a network of its own."""
    space = ResNet12()
    assert printed_size(space) == true_size(space) == 108**12
    assert f"{printed_size(space):.3e}" == "2.518e+24"


@pytest.mark.parametrize(
    ("options", "size"),
    [
        ({"anl": True}, 108**3 + 108**6 + 108**9 + 108**12),
        ({"ge": False}, (108 * 108 * 18) ** 4),
        ({"ge": False, "anl": True}, sum((108 * 108 * 18) ** b for b in (1, 2, 3, 4))),
    ],
)
def test_ge_and_anl_switch_choices_on_and_off(options, size):
    """Without GE the last convolution of each block, its edge, keeps its base width; ANL stops after a block."""
    assert true_size(ResNet12(ResNet12Options(**options))) == size


def test_without_ge_the_blocks_have_their_base_widths_at_the_edges():
    space = ResNet12(ResNet12Options(ge=False))
    generator = np.random.default_rng(0)
    for _ in range(20):
        assert [b.width for b in space.blocks(space.sample(generator))] == [32, 64, 128, 256]


@pytest.mark.parametrize("input_shape", [MINI, CIFAR])
def test_774_distinct_convolutions_are_to_be_measured(input_shape):
    """18 first ones and 3 x 108 behind a stride of 2, 4 x 108 others; a shortcut is a first one with k = 1."""
    layers = ResNet12().distinct_layers(input_shape, 5)
    assert sum(layer.op == "conv2d" for layer in layers) == 18 + 3 * 108 + 4 * 108 == 774
    assert sum(layer.op == "add" for layer in layers) == 4 * len(SCALES)
    assert sum(layer.op == "linear" for layer in layers) == len(SCALES)
    assert layers == sorted(set(layers))


@pytest.mark.parametrize("options", [{}, {"ge": False}, {"anl": True}])
def test_every_layer_of_random_networks_is_among_the_distinct_ones(options):
    space = ResNet12(ResNet12Options(base_width=8, pool=2, **options))
    known = set(space.distinct_layers(CIFAR, 5))
    generator = np.random.default_rng(0)
    seen = set()
    for _ in range(4000):
        seen.update(space.layers(space.sample(generator), CIFAR, 5))
    assert seen <= known
    # What 4000 networks never show is rare: nothing is listed that no network has.
    assert len(seen) > 0.98 * len(known)


def test_layers_chain_up_but_for_the_shortcuts():
    space = ResNet12()
    layers = space.layers(space.sample(np.random.default_rng(1)), MINI, 5)
    branches = [i for i, (a, b) in enumerate(pairwise(layers[:-1]), 1) if a.out_shape != b.in_shape]
    assert [layers[i].op for i in branches] == ["conv2d"] * 4
    assert [layers[i].kernel for i in branches] == [1] * 4
    assert [layer.op for layer in layers[:12]][-5:] == ["norm", "conv2d", "norm", "add", layers[11].op]
    block = layers[:12]
    assert layers[branches[0]].in_shape == block[0].in_shape == MINI
    assert [layer.out_shape[1] for layer in layers if layer.op == "add"] == [42, 21, 11, 6]
    assert layers[-1].in_shape == (layers[-2].in_shape[0], 1, 1)


def test_the_reference_networks_parameters_and_macs_by_hand():
    """Base widths, 3x3: convolutions with biases, normalisations, shortcuts and classifier written out."""
    space = ResNet12(ResNet12Options(pool=5))
    layers = space.layers(space.reference(), MINI, 5)
    params, macs, channels = 0, 0, 3
    for width, side in zip((32, 64, 128, 256), (42, 21, 11, 6), strict=True):
        weights = 9 * channels * width + 2 * 9 * width * width + channels * width
        params += weights + 4 * width + 4 * 2 * width
        macs += weights * side * side
        channels = width
    params += 256 * 25 * 5 + 5
    macs += 256 * 25 * 5
    assert sum(layer.params for layer in layers) == params
    assert sum(layer.macs for layer in layers) == macs


def test_with_anl_a_networks_head_follows_its_last_block():
    space = ResNet12(ResNet12Options(anl=True, pool=2))
    arch = space.architecture(blocks=2, scale2_3=1.5)
    layers = space.layers(arch, MINI, 5)
    assert sum(layer.op == "add" for layer in layers) == 2
    assert layers[-2].in_shape == (96, 21, 21)
    assert set(space.options(arch)) == {
        "blocks",
        *(f"{k}{b}_{i}" for k in ("kernel", "scale", "activation") for b in (1, 2) for i in (1, 2, 3)),
    }


def test_sizes_that_make_no_network_are_told():
    with pytest.raises(ConfigError, match="resnet12: images of 3x0x84 in 5 classes"):
        ResNet12().layers(ResNet12().reference(), (3, 0, 84), 5)


def test_the_space_is_shown_without_torch():
    code = (
        "import sys; from hnas_plugins.spaces.resnet12 import ResNet12; s = ResNet12();"
        "s.distinct_layers((3, 84, 84), 5); sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
