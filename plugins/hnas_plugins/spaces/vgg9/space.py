"""The VGG9 space: four convolutions and a classifier (Table 7 of the paper)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from hnas import Architecture, Choice, Layer, SearchSpace
from hnas.layer import Shape
from hnas_plugins.spaces.blocks.conv_layers import (
    ACTIVATIONS,
    KERNELS,
    ConvBlock,
    Convolution,
    check_task,
    conv_layers,
    halving_layer,
    head_layers,
)
from hnas_plugins.spaces.vgg9.options import VGG9Options

if TYPE_CHECKING:
    from hnas_plugins.spaces.vgg9.supernet import VGG9SuperNet

DEPTH = 4
SCALES = (0.25, 0.5, 0.75, 1.0, 1.5, 2.0, 2.25)


class VGG9(SearchSpace):
    """Up to four blocks [convolution, batch normalisation, activation, halving], n×n pooling, a linear classifier.

    The choices are ``depth`` (with ANL), then ``kernel1``, ``scale1`` (with GE), ``activation1``, ``kernel2`` and so
    on. A layer has ``round(base_width * scale)`` channels, at least one; maps are halved with rounding up.
    """

    name = "vgg9"

    def __init__(self, options: VGG9Options | None = None) -> None:
        self.settings = options or VGG9Options()
        choices = [Choice(name="depth", options=tuple(range(1, DEPTH + 1)))] if self.settings.anl else []
        for i in range(1, DEPTH + 1):
            needs = ("depth", tuple(range(i, DEPTH + 1))) if self.settings.anl and i > 1 else None
            choices.append(Choice(name=f"kernel{i}", options=KERNELS, needs=needs))
            if self.settings.ge:
                choices.append(Choice(name=f"scale{i}", options=SCALES, needs=needs))
            choices.append(Choice(name=f"activation{i}", options=ACTIVATIONS, needs=needs))
        self._choices = tuple(choices)
        scales = SCALES if self.settings.ge else (1.0,)
        self.widths = tuple(max(1, round(self.settings.base_width * scale)) for scale in scales)

    @property
    def choices(self) -> Sequence[Choice]:
        return self._choices

    def width_choices(self) -> Sequence[str]:
        return [c.name for c in self._choices if c.name.startswith("scale")]

    def blocks(self, arch: Architecture) -> tuple[ConvBlock, ...]:
        """Return the convolution blocks that ``arch`` has, input side first."""
        genes = iter(arch.genes)
        depth = next(genes) + 1 if self.settings.anl else DEPTH
        return tuple(
            ConvBlock(
                kernel=KERNELS[next(genes)],
                width=self.widths[next(genes) if self.settings.ge else 0],
                activation=ACTIVATIONS[next(genes)],
            )
            for _ in range(depth)
        )

    def convolutions(self, arch: Architecture, channels: int) -> Mapping[str, Convolution]:
        """Return the convolutions of ``arch`` by the name of their weights, for images of ``channels``."""
        pooled = self.settings.downsample == "pool"
        found = {}
        for i, block in enumerate(self.blocks(arch), 1):
            found[str(i)] = Convolution(
                kernel=block.kernel,
                channels=channels,
                width=block.width,
                stride=1 if pooled else 2,
                activation=block.activation,
                norm=block.activation,
                max_pool=pooled,
            )
            channels = block.width
        return found

    def layers(self, arch: Architecture, input_shape: Shape, n_way: int) -> Sequence[Layer]:
        """Return the layers of ``arch``.

        Raises `ConfigError` if a size is not positive; no input is too small, since padding keeps at least one pixel.
        """
        check_task(self.name, input_shape, n_way)
        layers: list[Layer] = []
        shape = input_shape
        for block in self.blocks(arch):
            layers += self._block_layers(shape, block)
            shape = layers[-1].out_shape
        return [*layers, *head_layers(shape, self.settings.pool, n_way)]

    def supernet(self, input_shape: Shape, n_way: int) -> VGG9SuperNet:
        from hnas_plugins.spaces.vgg9.supernet import VGG9SuperNet  # it imports torch

        return VGG9SuperNet(
            self,
            self.convolutions,
            input_shape,
            n_way,
            start=self._uniform(kernel=3, **({"scale": 1.0} if self.settings.ge else {})),
            pool=self.settings.pool,
            norms=self.settings.norms,
            classifier=self.settings.classifier,
            transform=self.settings.kernels == "transform",
        )

    def references(self) -> Mapping[str, Architecture]:
        """Return the networks of MAML and MAML++, which the paper compares with: four 3×3 layers with ReLU.

        ``maml++`` is the one for Mini-ImageNet (48 filters at base width 64), ``maml++-omniglot`` the one for Omniglot
        (64 filters). Without GE the width is fixed and ``maml++`` is the only one.
        """
        if not self.settings.ge:
            return {"maml++": self._uniform(kernel=3, activation="relu")}
        return {
            "maml++": self._uniform(kernel=3, activation="relu", scale=0.75),
            "maml++-omniglot": self._uniform(kernel=3, activation="relu", scale=1.0),
        }

    def default_reference(self, input_shape: Shape) -> str | None:
        """Return the paper's reference for such images: Omniglot's up to 32 pixels, else Mini-ImageNet's."""
        return "maml++-omniglot" if self.settings.ge and input_shape[1] <= 32 else "maml++"

    def reference_options(self, name: str, input_shape: Shape, n_way: int) -> dict[str, Any]:
        """Return the options under which the published sizes of the reference networks hold.

        They halve by max-pooling, and pool to 5×5 for Mini-ImageNet (84×84 pixels), to 1×1 for Omniglot (28×28).
        """
        return {"downsample": "pool", "pool": 5 if input_shape[1] > 32 else 1}

    def _uniform(self, **options: Any) -> Architecture:
        """Return the network of full depth whose layers all have the same options."""
        named = {f"{key}{i}": value for key, value in options.items() for i in range(1, DEPTH + 1)}
        return self.architecture(**({"depth": DEPTH} if self.settings.anl else {}), **named)

    def _block_layers(self, in_shape: Shape, block: ConvBlock) -> tuple[Layer, ...]:
        if self.settings.downsample == "stride":
            return conv_layers(in_shape, block, 2)
        layers = conv_layers(in_shape, block, 1)
        return (*layers, halving_layer(layers[-1].out_shape))
