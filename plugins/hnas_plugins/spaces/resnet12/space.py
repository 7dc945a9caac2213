"""The ResNet12 space: four residual blocks of three convolutions, and a classifier (Table 8 of the paper)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from hnas import Architecture, Choice, Layer, SearchSpace
from hnas.layer import Shape
from hnas_plugins.spaces.blocks.conv_layers import (
    ACTIVATIONS,
    KERNELS,
    ConvBlock,
    all_blocks,
    check_task,
    conv_layers,
    head_layers,
)
from hnas_plugins.spaces.resnet12.geometry import BLOCKS, CONVOLUTIONS, SCALES, Geometry, ResidualBlock
from hnas_plugins.spaces.resnet12.options import ResNet12Options

if TYPE_CHECKING:
    from hnas_plugins.spaces.resnet12.supernet import ResNet12SuperNet


class ResNet12(SearchSpace):
    """Four blocks [3 × (convolution, batch normalisation, activation)] with a 1×1 shortcut, pooling, a classifier.

    The choices are ``blocks`` (with ANL), then ``kernel1_1``, ``scale1_1``, ``activation1_1``, ``kernel1_2`` and so on:
    block, then convolution. Without GE the last convolution of each block, which is the edge to the next, has no scale.
    Convolutions have stride 2, 1 and 1; the shortcut, a convolution of stride 2 with its own normalisation, takes
    the block's input to the width of its last convolution, so every combination of widths can be added up. The
    activation of that convolution comes after the addition.
    """

    name = "resnet12"

    def __init__(self, options: ResNet12Options | None = None) -> None:
        self.settings = options or ResNet12Options()
        self._geometry = Geometry(self.settings)
        choices = [Choice(name="blocks", options=tuple(range(1, BLOCKS + 1)))] if self.settings.anl else []
        for b in range(1, BLOCKS + 1):
            needs = ("blocks", tuple(range(b, BLOCKS + 1))) if self.settings.anl and b > 1 else None
            for i in range(1, CONVOLUTIONS + 1):
                choices.append(Choice(name=f"kernel{b}_{i}", options=KERNELS, needs=needs))
                if self._geometry.searches_width(i):
                    choices.append(Choice(name=f"scale{b}_{i}", options=SCALES, needs=needs))
                choices.append(Choice(name=f"activation{b}_{i}", options=ACTIVATIONS, needs=needs))
        self._choices = tuple(choices)

    @property
    def choices(self) -> Sequence[Choice]:
        return self._choices

    def blocks(self, arch: Architecture) -> tuple[ResidualBlock, ...]:
        """Return the blocks that ``arch`` has, input side first."""
        return self._geometry.blocks(arch)

    def layers(self, arch: Architecture, input_shape: Shape, n_way: int) -> Sequence[Layer]:
        """Return the layers of ``arch``; a block's shortcut stands before its ``add``.

        The shortcut takes the block's input, everything else what the layer before gives. Raises `ConfigError` where a
        size is not positive; no input is too small, since padding keeps at least one pixel.
        """
        check_task(self.name, input_shape, n_way)
        layers: list[Layer] = []
        shape = input_shape
        for block in self.blocks(arch):
            inner = shape
            for i, convolution in enumerate(block.convolutions):
                layers += conv_layers(inner, convolution, 1 if i else 2)
                inner = layers[-1].out_shape
            activation = layers.pop()
            layers += shortcut_layers(shape, block.width)
            layers += [Layer(op="add", in_shape=inner, out_shape=inner), activation]
            shape = inner
        return [*layers, *head_layers(shape, self.settings.pool, n_way)]

    def distinct_layers(self, input_shape: Shape, n_way: int) -> list[Layer]:
        """Return every layer of the space once, sorted.

        A layer depends on three genes, its kernel, its width and the width before it, so they are enumerated here. A
        shortcut is the same as a first convolution with a 1×1 kernel.
        """
        check_task(self.name, input_shape, n_way)
        found: set[Layer] = set()
        inputs = {input_shape}
        for b in range(BLOCKS):
            shapes = inputs
            for i in range(CONVOLUTIONS):
                given = set()
                for shape in shapes:
                    for block in all_blocks(self._geometry.widths(b, i)):
                        layers = conv_layers(shape, block, 1 if i else 2)
                        found.update(layers)
                        given.add(layers[-1].out_shape)
                shapes = given
            for shape in shapes:
                found.update(layer for taken in inputs for layer in shortcut_layers(taken, shape[0]))
                found.add(Layer(op="add", in_shape=shape, out_shape=shape))
                if self.settings.anl or b == BLOCKS - 1:
                    found.update(head_layers(shape, self.settings.pool, n_way))
            inputs = shapes
        return sorted(found)

    def supernet(self, input_shape: Shape, n_way: int) -> ResNet12SuperNet:
        from hnas_plugins.spaces.resnet12.supernet import ResNet12SuperNet  # it imports torch

        return ResNet12SuperNet(self, self._geometry, input_shape, n_way)

    def references(self) -> Mapping[str, Architecture]:
        """Return the network of Table 8's base widths, all kernels 3×3, with ReLU."""
        picked: dict[str, Any] = {"blocks": BLOCKS} if self.settings.anl else {}
        for b in range(1, BLOCKS + 1):
            for i in range(1, CONVOLUTIONS + 1):
                picked |= {f"kernel{b}_{i}": 3, f"activation{b}_{i}": "relu"}
                if self._geometry.searches_width(i):
                    picked[f"scale{b}_{i}"] = 1.0
        return {"resnet12": self.architecture(**picked)}

    def reference_options(self, name: str, input_shape: Shape, n_way: int) -> dict[str, Any]:
        """Return the paper's pooling: to 5×5 for images of 84×84 pixels, to 1×1 for those of Omniglot."""
        return {"pool": 5 if input_shape[1] > 32 else 1}


def shortcut_layers(in_shape: Shape, width: int) -> tuple[Layer, Layer]:
    """Return the 1×1 convolution of stride 2 and its normalisation that take a block's input to its output's shape."""
    conv, norm, _ = conv_layers(in_shape, ConvBlock(kernel=1, width=width, activation=ACTIVATIONS[0]), 2)
    return conv, norm
