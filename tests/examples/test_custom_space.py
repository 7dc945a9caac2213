"""The example space and its super-net conform, and its layers are those of MobileNet's blocks."""

from __future__ import annotations

from pathlib import Path

import hnas
from hnas.testing import SpaceConformance
from hnas_app.search.sizes import true_size

REFERENCE = f"{Path(__file__).resolve().parents[2] / 'examples' / 'custom_space.py'}:MySpace"
REGISTRY = hnas.Registry()


def my_space(base_width: int) -> hnas.SearchSpace:
    options = REGISTRY.options_class("space", REFERENCE)(base_width=base_width)
    space: hnas.SearchSpace = REGISTRY.create("space", REFERENCE, options)
    return space


class TestMySpace(SpaceConformance):
    def make(self) -> hnas.SearchSpace:
        return my_space(4)


def test_a_block_is_cheaper_than_a_full_convolution_as_published():
    """MobileNets, section 3.1: a share of 1/N + 1/k² of the multiply-accumulates, N being the output channels."""
    space = my_space(32)
    arch = space.architecture(depth=2, kernel1=3, width1=1.0, kernel2=5, width2=1.5)
    depthwise, pointwise = [la for la in space.layers(arch, (1, 28, 28), 5) if la.op == "conv2d"][2:]
    full = 25 * depthwise.in_shape[0] * pointwise.out_shape[0] * pointwise.out_shape[1] * pointwise.out_shape[2]
    share = 1 / pointwise.out_shape[0] + 1 / 25
    assert (depthwise.macs + pointwise.macs) / full == share


def test_depth_hides_the_choices_of_blocks_that_are_not_there():
    """By hand: each block has 2 × 3 options, so 6 + 36 + 216 + 1,296 networks."""
    assert true_size(my_space(32)) == 6 + 36 + 216 + 1296
