"""The ResNet12 space: four residual blocks of three convolutions, and a classifier (Table 8 of the paper)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import product
from typing import TYPE_CHECKING, Any

from attrs import frozen

from hnas import Architecture, Choice, Layer, SearchSpace
from hnas.layer import Shape
from hnas_plugins.spaces.blocks.conv_layers import (
    ACTIVATIONS,
    KERNELS,
    ConvBlock,
    Convolution,
    check_task,
    conv_layers,
    head_layers,
)
from hnas_plugins.spaces.resnet12.options import ResNet12Options

if TYPE_CHECKING:
    from hnas_plugins.spaces.resnet12.supernet import ResNet12SuperNet

BLOCKS = 4
CONVOLUTIONS = 3
"""Of each block; the first has stride 2."""
SCALES = (0.25, 0.5, 1.0, 1.5, 1.75, 2.0)
WIDENING = (1, 2, 4, 8)
"""Channels of each block over those of the first, at scale 1: 32, 64, 128 and 256 in the paper."""


@frozen(kw_only=True)
class ResidualBlock:
    """Three convolutions; the last one's activation follows the addition of a 1×1 shortcut."""

    convolutions: tuple[ConvBlock, ...]

    @property
    def width(self) -> int:
        """Channels of the block's output, and of its shortcut."""
        return self.convolutions[-1].width


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
        choices = [Choice(name="blocks", options=tuple(range(1, BLOCKS + 1)))] if self.settings.anl else []
        for b in range(1, BLOCKS + 1):
            needs = ("blocks", tuple(range(b, BLOCKS + 1))) if self.settings.anl and b > 1 else None
            for i in range(1, CONVOLUTIONS + 1):
                choices.append(Choice(name=f"kernel{b}_{i}", options=KERNELS, needs=needs))
                if self._searches_width(i):
                    choices.append(Choice(name=f"scale{b}_{i}", options=SCALES, needs=needs))
                choices.append(Choice(name=f"activation{b}_{i}", options=ACTIVATIONS, needs=needs))
        self._choices = tuple(choices)

    @property
    def choices(self) -> Sequence[Choice]:
        return self._choices

    def width_choices(self) -> Sequence[str]:
        return [c.name for c in self._choices if c.name.startswith("scale")]

    def blocks(self, arch: Architecture) -> tuple[ResidualBlock, ...]:
        """Return the blocks that ``arch`` has, input side first."""
        genes = iter(arch.genes)
        count = next(genes) + 1 if self.settings.anl else BLOCKS
        return tuple(
            ResidualBlock(
                convolutions=tuple(
                    ConvBlock(
                        kernel=KERNELS[next(genes)],
                        width=self._widths(b, i)[next(genes) if self._searches_width(i) else 0],
                        activation=ACTIVATIONS[next(genes)],
                    )
                    for i in range(1, CONVOLUTIONS + 1)
                )
            )
            for b in range(1, count + 1)
        )

    def convolutions(self, arch: Architecture, channels: int) -> Mapping[str, Convolution]:
        """Return the convolutions of ``arch`` by the name of their weights, for images of ``channels``."""
        found: dict[str, Convolution] = {}
        for b, block in enumerate(self.blocks(arch), 1):
            before, given = len(found) - 1, channels  # the block's input: the unit, and its channels
            after = block.convolutions[-1].activation
            for i, c in enumerate(block.convolutions, 1):
                found[f"{b}_{i}"] = Convolution(
                    kernel=c.kernel,
                    channels=channels,
                    width=c.width,
                    stride=1 if i > 1 else 2,
                    activation=None if i == CONVOLUTIONS else c.activation,
                    norm=c.activation,
                )
                channels = c.width
            found[f"{b}_short"] = Convolution(
                kernel=1,
                channels=given,
                width=channels,
                stride=2,
                activation=None,
                norm=after,
                source=before,
                joins=len(found) - 1,
                after=after,
                drops=b > BLOCKS - 2,  # as is usual for this network
            )
        return found

    def _widths(self, block: int, convolution: int) -> tuple[int, ...]:
        """Return the widths that a convolution, both counted from 1, may have."""
        base = self.settings.base_width * WIDENING[block - 1]
        scales = SCALES if self._searches_width(convolution) else (1.0,)
        return tuple(max(1, round(base * scale)) for scale in scales)

    def _searches_width(self, convolution: int) -> bool:
        """Return whether the width of a convolution, counted from 1, is searched: at a block's edge with GE only."""
        return self.settings.ge or convolution < CONVOLUTIONS

    def layers(self, arch: Architecture, input_shape: Shape, n_way: int) -> Sequence[Layer]:
        """Return the layers of ``arch``; a block's shortcut stands before its ``add``.

        The shortcut reads the block's input, every other layer the output of the one before. Raises `ConfigError` if a
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
        for b in range(1, BLOCKS + 1):
            shapes = inputs
            for i in range(1, CONVOLUTIONS + 1):
                given = set()
                for shape, k, width, name in product(shapes, KERNELS, set(self._widths(b, i)), ACTIVATIONS):
                    block = ConvBlock(kernel=k, width=width, activation=name)
                    layers = conv_layers(shape, block, 1 if i > 1 else 2)
                    found.update(layers)
                    given.add(layers[-1].out_shape)
                shapes = given
            for shape in shapes:
                found.update(layer for taken in inputs for layer in shortcut_layers(taken, shape[0]))
                found.add(Layer(op="add", in_shape=shape, out_shape=shape))
                if self.settings.anl or b == BLOCKS:
                    found.update(head_layers(shape, self.settings.pool, n_way))
            inputs = shapes
        return sorted(found)

    def supernet(self, input_shape: Shape, n_way: int) -> ResNet12SuperNet:
        from hnas_plugins.spaces.resnet12.supernet import ResNet12SuperNet  # it imports torch

        start, o = self.references()["resnet12"], self.settings
        task = input_shape, n_way
        return ResNet12SuperNet(
            self, self.convolutions, *task, start=start, pool=o.pool, norms=o.norms, classifier=o.classifier
        )

    def references(self) -> Mapping[str, Architecture]:
        """Return the network of Table 8's base widths, all kernels 3×3, with ReLU."""
        picked: dict[str, Any] = {"blocks": BLOCKS} if self.settings.anl else {}
        for b in range(1, BLOCKS + 1):
            for i in range(1, CONVOLUTIONS + 1):
                picked |= {f"kernel{b}_{i}": 3, f"activation{b}_{i}": "relu"}
                if self._searches_width(i):
                    picked[f"scale{b}_{i}"] = 1.0
        return {"resnet12": self.architecture(**picked)}

    def reference_options(self, name: str, input_shape: Shape, n_way: int) -> dict[str, Any]:
        """Return the paper's pooling: to 5×5 for images of 84×84 pixels, to 1×1 for those of Omniglot."""
        return {"pool": 5 if input_shape[1] > 32 else 1}


def shortcut_layers(in_shape: Shape, width: int) -> tuple[Layer, Layer]:
    """Return the 1×1 convolution of stride 2 and its normalisation that take a block's input to its output's shape."""
    conv, norm, _ = conv_layers(in_shape, ConvBlock(kernel=1, width=width, activation=ACTIVATIONS[0]), 2)
    return conv, norm
