"""Which results layers read: what a backend runs end to end, and the proof of a table, rest on it."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import pytest

from hnas import DeviceError, Layer
from hnas.layer import Shape
from hnas.toolkit.dataflow import connects, dataflow
from hnas_plugins.spaces.resnet12 import ResNet12, ResNet12Options
from hnas_plugins.spaces.vgg9 import VGG9

MAP = (4, 6, 6)
HALF = (4, 3, 3)


def layer(op: str, given: Shape = MAP, gives: Shape | None = None) -> Layer:
    return Layer(op=op, in_shape=given, out_shape=gives or given)


def test_a_chain_reads_one_after_the_other():
    space = VGG9()
    for seed in range(5):
        layers = space.layers(space.sample(np.random.default_rng(seed)), (3, 28, 28), 5)
        assert dataflow(layers) == [(i,) for i in range(len(layers))]


def test_residual_blocks_read_their_inputs_twice():
    """By construction: 12 layers a block, of which the tenth is the shortcut and the twelfth follows the addition."""
    space = ResNet12(ResNet12Options(base_width=4))
    for seed in range(20):
        layers = space.layers(space.sample(np.random.default_rng(seed)), (3, 84, 84), 5)
        reads, expected = dataflow(layers), list[tuple[int, ...]]()
        for block in range(4):
            start = 12 * block
            expected += [(start + i,) for i in range(8)] + [(start,), (start + 9,)]
            expected += [(start + 10, start + 8), (start + 11,)]
        assert reads == [*expected, (48,), (49,)]


def test_every_layer_reads_what_it_takes():
    space = ResNet12(ResNet12Options(base_width=1))
    for seed in range(50):
        layers = space.layers(space.sample(np.random.default_rng(seed)), (1, 9, 7), 5)
        shapes = [layers[0].in_shape, *(la.out_shape for la in layers)]
        for la, read in zip(layers, dataflow(layers), strict=True):
            assert all(shapes[v] == la.in_shape or la.op == "linear" for v in read)
        assert all(a.out_shape == b.in_shape for a, b in pairwise(layers[-2:]) if b.op != "linear")


def test_an_addition_without_a_branch_reads_one_value():
    assert dataflow([layer("relu"), layer("add")]) == [(0,), (1,)]


def test_branches_may_nest():
    inner = [layer("relu", HALF), layer("max_pool", MAP, HALF), layer("add", HALF)]
    layers = [layer("elu"), layer("max_pool", MAP, HALF), *inner, layer("relu", HALF)]
    assert dataflow(layers) == [(0,), (1,), (2,), (1,), (4, 3), (5,)]


@pytest.mark.parametrize(
    ("layers", "told"),
    [
        ([], "without layers"),
        ([layer("relu"), layer("elu", (4, 5, 6))], r"layer 2 .*takes 4x5x6: the one before gives 4x6x6"),
        ([layer("max_pool", MAP, HALF), layer("relu", MAP)], r"output of layer 1 .*, 4x3x3, is never used"),
        ([layer("relu"), Layer(op="linear", in_shape=(143, 1, 1), out_shape=(5, 1, 1))], "takes 143x1x1"),
    ],
)
def test_what_is_no_network_is_told(layers: Sequence[Layer], told: str):
    with pytest.raises(DeviceError, match=told) as caught:
        dataflow(layers)
    assert caught.value.hint
    assert not connects(layers)
