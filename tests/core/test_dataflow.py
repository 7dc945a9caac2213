"""Which results layers read: what a backend runs end to end, and the proof of a table, rest on it."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import pytest
from attrs import evolve

from hnas import DeviceError, Layer
from hnas.layer import Shape
from hnas.toolkit.dataflow import connects, dataflow
from hnas_plugins.spaces.resnet12 import ResNet12, ResNet12Options
from hnas_plugins.spaces.vgg9 import VGG9

MAP = (4, 6, 6)
HALF = (4, 3, 3)


def layer(op: str, given: Shape = MAP, gives: Shape | None = None) -> Layer:
    window = {"kernel": 2, "stride": 2} if gives else {}
    return Layer(op=op, in_shape=given, out_shape=gives or given, **window)


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


WIDE = (8, 6, 6)


def reading(one: Layer, *reads: int) -> Layer:
    return evolve(one, reads=reads)


@pytest.mark.parametrize(
    ("layers", "expected"),
    [
        # The input is read by two branches of its own shape: derived, they would be a chain whose sum has one term.
        ([layer("relu"), reading(layer("elu"), 2), reading(layer("add"), 1, 2)], [(0,), (0,), (2, 1)]),
        ([reading(layer("add"), 1, 1), layer("relu")], [(0, 0), (1,)]),
        ([layer("relu"), reading(layer("concat", WIDE), 1, 2)], [(0,), (1, 0)]),
        ([layer("relu"), layer("elu"), reading(layer("add"), 1, 2, 3)], [(0,), (1,), (2, 1, 0)]),
        # A branch that waits is joined by a layer that says so, and the next `add` without places joins the other one.
        (
            [
                layer("max_pool", MAP, HALF),
                layer("max_pool", MAP, HALF),
                reading(layer("max_pool", MAP, HALF), 3),
                reading(layer("add", HALF), 1, 3),
                reading(layer("add", HALF), 1, 3),
            ],
            [(0,), (0,), (0,), (3, 1), (4, 2)],
        ),
        ([layer("relu"), reading(Layer(op="linear", in_shape=(144, 1, 1), out_shape=(5, 1, 1)), 1)], [(0,), (1,)]),
        ([layer("relu"), Layer(op="mul", in_shape=MAP, out_shape=MAP, counts=(0, 0), reads=(1, 2))], [(0,), (1, 0)]),
    ],
)
def test_layers_read_what_they_say(layers: Sequence[Layer], expected: list[tuple[int, ...]]):
    assert dataflow(layers) == expected


@pytest.mark.parametrize(
    ("layers", "told"),
    [
        ([layer("relu"), reading(layer("add"), 1, 3)], r"layer 2 .*reads=\(1, 3\), cannot take 4x6x6 and nothing"),
        ([layer("relu"), reading(layer("elu"), 3)], "cannot take nothing"),
        ([layer("relu"), reading(layer("elu"), 1, 2)], "cannot take 4x6x6 and 4x6x6"),
        ([layer("relu"), reading(layer("concat"), 1)], "cannot take 4x6x6"),
        ([layer("relu"), reading(layer("concat", (9, 6, 6)), 1, 2)], "cannot take 4x6x6 and 4x6x6"),
        ([layer("max_pool", MAP, HALF), reading(layer("concat", WIDE), 1, 2)], "cannot take 4x3x3 and 4x6x6"),
        ([layer("max_pool", MAP, HALF), reading(layer("add", HALF), 1, 2)], "cannot take 4x3x3 and 4x6x6"),
        ([layer("relu"), reading(layer("elu"), 2)], "output of layer 1 .*, 4x6x6, is never used"),
        ([layer("relu"), layer("concat")], "does not say what else it reads"),
    ],
)
def test_what_cannot_be_read_is_told(layers: Sequence[Layer], told: str):
    """A runner would read another map, or crash on a board far away."""
    with pytest.raises(DeviceError, match=told) as caught:
        dataflow(layers)
    assert caught.value.hint
    assert not connects(layers)


def test_a_concatenation_is_measured_alone():
    assert dataflow([layer("concat", WIDE)]) == [(0,)]


def test_distinct_layers_are_for_any_place():
    """A row is read by the key; with the places of one network it could not be measured alone."""
    branches = [layer("relu"), reading(layer("elu"), 2), reading(layer("add"), 1, 2)]

    class Branches(VGG9):
        def layers(self, *_: object) -> list[Layer]:
            return branches

    assert [la.reads for la in Branches().distinct_layers((1, 28, 28), 5)] == [(), (), ()]
