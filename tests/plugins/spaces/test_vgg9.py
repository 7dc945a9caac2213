"""The VGG9 space: its counts, its layers, its switches. Golden numbers are the paper's, as the project checked them."""

import subprocess
import sys
import time
from itertools import pairwise

import attrs
import numpy as np
import pytest

from hnas import ConfigError
from hnas_app.search.sizes import printed_size, true_size
from hnas_plugins.spaces.blocks.conv_layers import ACTIVATIONS, KERNELS
from hnas_plugins.spaces.vgg9 import VGG9, VGG9Options
from hnas_plugins.spaces.vgg9.space import DEPTH, SCALES

MINI = (3, 84, 84)
OMNIGLOT = (1, 28, 28)


def totals(space, arch, input_shape, n_way):
    layers = space.layers(arch, input_shape, n_way)
    return sum(layer.params for layer in layers), sum(layer.macs for layer in layers)


def test_the_size_printed_is_that_of_table_7():
    assert printed_size(VGG9()) == 126**4 * 4 == 1_008_189_504


@pytest.mark.parametrize(
    ("options", "size"),
    [
        ({}, 126 + 126**2 + 126**3 + 126**4),
        ({"ge": False}, 18 + 18**2 + 18**3 + 18**4),
        ({"anl": False}, 126**4),
        ({"ge": False, "anl": False}, 18**4),
    ],
)
def test_ge_and_anl_switch_choices_on_and_off(options, size):
    """The switches of Table 2: 254,063,754 networks in all, 111,150 without GE, 252,047,376 without ANL."""
    golden = {(): 254_063_754, ("ge",): 111_150, ("anl",): 252_047_376}
    assert size == golden.get(tuple(options), size)
    assert true_size(VGG9(VGG9Options(**options))) == size


def test_a_layer_beyond_the_depth_changes_nothing():
    """Where the depth is 2, the genes of layers 3 and 4 must not make another network."""
    space = VGG9()
    arch = space.architecture(depth=2, kernel4=5, scale3=2.25)
    assert arch == space.architecture(depth=2)
    assert set(space.options(arch)) == {
        "depth",
        *(f"{k}{i}" for k in ("kernel", "scale", "activation") for i in (1, 2)),
    }
    assert [layer.op for layer in space.layers(arch, OMNIGLOT, 5)].count("conv2d") == 2


@pytest.mark.parametrize(
    ("name", "input_shape", "n_way", "golden"),
    [
        ("maml++", MINI, 5, (70_085, 57_382_512)),  # Table 4: 70.09K, 57.38M
        ("maml++-omniglot", OMNIGLOT, 20, (113_236, 10_074_368)),  # Table 10: 113.21K, 10.07M
    ],
)
def test_the_reference_networks_have_the_papers_sizes(name, input_shape, n_way, golden):
    options = VGG9().reference_options(name, input_shape, n_way)
    space = VGG9(VGG9Options(**options))
    assert totals(space, space.reference(name), input_shape, n_way) == golden


@pytest.mark.parametrize(("name", "input_shape", "n_way"), [("maml++", MINI, 5), ("maml++-omniglot", OMNIGLOT, 20)])
def test_strided_convolutions_save_macs_and_no_parameters(name, input_shape, n_way):
    """Table 7's literal reading, stride 2: about 3.9 times fewer MACs, so MACs are never compared across the two."""
    options = VGG9Options(**VGG9().reference_options(name, input_shape, n_way))
    pooled, strided = VGG9(options), VGG9(attrs.evolve(options, downsample="stride"))
    params, macs = totals(pooled, pooled.reference(name), input_shape, n_way)
    strided_params, strided_macs = totals(strided, strided.reference(name), input_shape, n_way)
    assert strided_params == params
    assert macs / strided_macs == pytest.approx(3.85, abs=0.1)


def test_the_first_reference_is_maml_plus_plus_under_every_option():
    """Presets take the first reference; without GE its width is the base width, since no other exists."""
    assert list(VGG9().references()) == ["maml++", "maml++-omniglot"]
    fixed = VGG9(VGG9Options(ge=False, anl=False))
    assert list(fixed.references()) == ["maml++"]
    assert [b.width for b in fixed.blocks(fixed.reference("maml++"))] == [64] * DEPTH
    assert [b.width for b in VGG9().blocks(VGG9().reference())] == [48] * DEPTH


@pytest.mark.parametrize("downsample", ["stride", "pool"])
@pytest.mark.parametrize(
    ("input_shape", "maps"), [(MINI, [84, 42, 21, 11, 6]), (OMNIGLOT, [28, 14, 7, 4, 2]), ((1, 3, 3), [3, 2, 1, 1, 1])]
)
def test_maps_are_halved_with_rounding_up(downsample, input_shape, maps):
    space = VGG9(VGG9Options(downsample=downsample, pool=5))
    arch = space.architecture(depth=4, kernel1=5, kernel3=3)
    layers = space.layers(arch, input_shape, 5)
    halving = [x for x in layers if x.op == ("conv2d" if downsample == "stride" else "max_pool")]
    assert [(x.in_shape[1], x.out_shape[1]) for x in halving] == list(pairwise(maps))
    convolutions = [x for x in layers if x.op == "conv2d"]
    assert all(x.padding == x.kernel // 2 and x.bias for x in convolutions)
    assert layers[-2].out_shape[1:] == (5, 5)
    assert layers[-1].in_shape == (convolutions[-1].out_shape[0] * 25, 1, 1)
    for before, after in pairwise(layers[:-1]):
        assert after.in_shape == before.out_shape


@pytest.mark.parametrize("downsample", ["stride", "pool"])
@pytest.mark.parametrize("input_shape", [MINI, OMNIGLOT])
def test_462_distinct_convolutions_are_to_be_measured(downsample, input_shape):
    """paper.md: 21 first layers and 3 x 147 later ones; a map size shared by two layers would make it fewer."""
    start = time.perf_counter()
    layers = VGG9(VGG9Options(downsample=downsample)).distinct_layers(input_shape, 5)
    seconds = time.perf_counter() - start
    assert sum(layer.op == "conv2d" for layer in layers) == 21 + 3 * 147 == 462
    assert sum(layer.op == "linear" for layer in layers) == len(SCALES)
    assert len({layer.key for layer in layers}) == len(layers)
    assert layers == sorted(layers)
    assert seconds < 1, "a cost table asks for this at once; it takes 50 ms on an idle core"


@pytest.mark.parametrize(
    "options", [{}, {"ge": False, "pool": 3}, {"anl": False, "downsample": "pool", "base_width": 3}]
)
def test_distinct_layers_are_exactly_those_of_the_architectures(options):
    """A missing layer would leave a hole in the cost table, a superfluous one would be measured for nothing."""
    space = VGG9(VGG9Options(**options))
    scales = SCALES if space.settings.ge else (None,)
    found = set()
    for depth in range(1, DEPTH + 1) if space.settings.anl else (DEPTH,):
        for i in range(1, depth + 1):
            for before in scales if i > 1 else scales[:1]:
                for scale in scales:
                    for number, kernel in enumerate(KERNELS):
                        picked = {f"kernel{i}": kernel, f"activation{i}": ACTIVATIONS[number]}
                        picked |= {f"activation{j}": ACTIVATIONS[number + 3] for j in range(1, depth + 1) if j != i}
                        if scale is not None:
                            picked |= {f"scale{i}": scale} | ({f"scale{i - 1}": before} if i > 1 else {})
                        if space.settings.anl:
                            picked["depth"] = depth
                        found.update(space.layers(space.architecture(**picked), (2, 9, 12), 4))
                for name in ACTIVATIONS:  # every activation behind every width
                    for scale in scales:
                        picked = {f"activation{i}": name} | ({f"scale{i}": scale} if scale is not None else {})
                        if space.settings.anl:
                            picked["depth"] = depth
                        found.update(space.layers(space.architecture(**picked), (2, 9, 12), 4))
    assert set(space.distinct_layers((2, 9, 12), 4)) == found


def test_random_architectures_are_priced_by_the_distinct_layers():
    space = VGG9(VGG9Options(downsample="pool", pool=5))
    known = {layer.key for layer in space.distinct_layers(OMNIGLOT, 20)}
    generator = np.random.default_rng(0)
    for _ in range(300):
        arch = space.sample(generator)
        space.check(arch)
        assert {layer.key for layer in space.layers(arch, OMNIGLOT, 20)} <= known


def test_base_width_scales_the_channels_and_never_to_none():
    space = VGG9(VGG9Options(base_width=1))
    assert min(space.widths) == 1
    assert VGG9(VGG9Options(base_width=64)).widths == (16, 32, 48, 64, 96, 128, 144)


@pytest.mark.parametrize(("input_shape", "n_way"), [((1, 0, 28), 5), ((28, 28), 5), ((1, 28, 28), 0), ((0, 28, 28), 5)])
def test_nonsense_inputs_are_refused_with_what_was_seen(input_shape, n_way):
    space = VGG9()
    for ask in (
        lambda: space.layers(space.reference(), input_shape, n_way),
        lambda: space.supernet(input_shape, n_way),
    ):
        with pytest.raises(ConfigError, match=f"images of {'x'.join(map(str, input_shape))} in {n_way} classes"):
            ask()


@pytest.mark.parametrize("wrong", [{"base_width": 0}, {"pool": 0}, {"ge": "false"}, {"downsample": "none"}])
def test_wrong_options_are_refused(wrong):
    """`ge="false"` above all: as a string it would be true."""
    with pytest.raises((ValueError, TypeError)):
        VGG9Options(**wrong)


def test_the_space_is_described_without_torch():
    """`hnas spaces show` must stay fast: importing torch takes seconds."""
    code = (
        "import sys; from hnas_plugins.spaces.vgg9 import VGG9; s = VGG9();"
        "s.distinct_layers((1, 28, 28), 5); sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
