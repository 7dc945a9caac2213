"""The VGG9 space: four convolutions and a classifier (Table 7 of the paper)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Literal

from attrs import frozen, validators

from hnas import Architecture, Choice, ConfigError, Layer, SearchSpace
from hnas.layer import Shape
from hnas.settings import one_of, positive, setting

if TYPE_CHECKING:
    from hnas_plugins.spaces.vgg9_supernet import VGG9SuperNet

DEPTH = 4
KERNELS = (1, 3, 5)
SCALES = (0.25, 0.5, 0.75, 1.0, 1.5, 2.0, 2.25)
ACTIVATIONS = ("relu", "elu", "selu", "sigmoid", "relu6", "leakyrelu")


@frozen(kw_only=True)
class VGG9Options:
    """Options of the space. Each changes what its networks are, so results are compared under equal options only."""

    base_width: int = setting(64, "channels of a layer at scale 1", positive)
    ge: bool = setting(True, "global expansion: search the layers' widths", validators.instance_of(bool))
    anl: bool = setting(True, "adaptive number of layers: search the depth, 1 to 4", validators.instance_of(bool))
    pool: int = setting(1, "n of the n×n average pooling before the classifier; the paper's is 5 for 84×84", positive)
    downsample: Literal["stride", "pool"] = setting(
        "stride",
        "what halves the maps: convolutions of stride 2, or 2×2 max-pooling as in MAML++",
        one_of("stride", "pool"),
    )
    heads: Literal["shared", "depth"] = setting(
        "shared", "classifiers of the super-net: one, or one for each depth", one_of("shared", "depth")
    )
    norms: Literal["shared", "kernel", "width", "activation", "sum"] = setting(
        "shared",
        "scale and shift of the super-net's normalisations: one for each layer, one for each option of a choice, or "
        "the sum of those of all three",
        one_of("shared", "kernel", "width", "activation", "sum"),
    )
    kernels: Literal["crop", "transform", "own"] = setting(
        "crop",
        "small kernels of the super-net: the centre of the large ones, that through a learned matrix, or their own",
        one_of("crop", "transform", "own"),
    )


@frozen(kw_only=True)
class ConvBlock:
    """One convolution with its normalisation, activation and halving: what the genes of one layer decide."""

    kernel: int
    width: int
    activation: str


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

    def layers(self, arch: Architecture, input_shape: Shape, n_way: int) -> Sequence[Layer]:
        """Return the layers of ``arch``.

        Convolutions have a bias, as a deployed network does: the normalisation is folded into them. An ``avg_pool`` is
        adaptive: its shapes say what it does, its kernel and stride are left at 1. Raises `ConfigError` where a size is
        not positive; no input is too small, since padding keeps at least one pixel.
        """
        check_task(input_shape, n_way)
        layers: list[Layer] = []
        shape = input_shape
        for block in self.blocks(arch):
            layers += _block_layers(shape, block, self.settings.downsample)
            shape = layers[-1].out_shape
        return layers + _head_layers(shape, self.settings.pool, n_way)

    def distinct_layers(self, input_shape: Shape, n_way: int) -> list[Layer]:
        """Return every layer of the space once, sorted.

        A layer depends on three genes, its kernel, its width and the width before it, so they are enumerated here.
        """
        check_task(input_shape, n_way)
        found: set[Layer] = set()
        shapes = {input_shape}
        for i in range(1, DEPTH + 1):
            halved = set()
            for shape in shapes:
                for block in self._all_blocks():
                    layers = _block_layers(shape, block, self.settings.downsample)
                    found.update(layers)
                    halved.add(layers[-1].out_shape)
            shapes = halved
            if self.settings.anl or i == DEPTH:
                for shape in shapes:
                    found.update(_head_layers(shape, self.settings.pool, n_way))
        return sorted(found)

    def supernet(self, input_shape: Shape, n_way: int) -> VGG9SuperNet:
        from hnas_plugins.spaces.vgg9_supernet import VGG9SuperNet  # it imports torch

        return VGG9SuperNet(self, input_shape, n_way)

    def references(self) -> Mapping[str, Architecture]:
        """Return the networks of MAML and MAML++: four 3×3 layers with ReLU, as the paper compares with.

        ``maml++`` is the one for Mini-ImageNet (48 filters at base width 64), ``maml++-omniglot`` the one for Omniglot
        (64 filters). Without GE the width is fixed and there is only ``maml++``.
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

    def _all_blocks(self) -> list[ConvBlock]:
        return [
            ConvBlock(kernel=kernel, width=width, activation=activation)
            for kernel in KERNELS
            for width in sorted(set(self.widths))
            for activation in ACTIVATIONS
        ]


def check_task(input_shape: Shape, n_way: int) -> None:
    """Raise `ConfigError` unless images and classes have sizes that a network can be built for."""
    if len(input_shape) != 3 or min(input_shape) < 1 or n_way < 1:
        raise ConfigError(
            f"vgg9: images of {'x'.join(map(str, input_shape))} in {n_way} classes make no network; expected positive "
            "channels x height x width, and at least one class",
            hint="check the size of the task's images, or --input and --n-way; Omniglot's are 1x28x28",
        )


@lru_cache(maxsize=1 << 14)
def _block_layers(in_shape: Shape, block: ConvBlock, downsample: str) -> tuple[Layer, ...]:
    """Return the layers of one block. Cached: a space has some 2,800 blocks, a search prices them 100,000 times."""
    stride = 2 if downsample == "stride" else 1
    _, height, width = in_shape
    halved = (block.width, (height + 1) // 2, (width + 1) // 2)
    full = halved if stride == 2 else (block.width, height, width)
    layers = (
        Layer(
            op="conv2d",
            in_shape=in_shape,
            out_shape=full,
            kernel=block.kernel,
            stride=stride,
            padding=block.kernel // 2,
            bias=True,
        ),
        Layer(op="norm", in_shape=full, out_shape=full),
        Layer(op=block.activation, in_shape=full, out_shape=full),
    )
    if stride == 2:
        return layers
    return (*layers, Layer(op="max_pool", in_shape=full, out_shape=halved, kernel=2, stride=2))


def _head_layers(in_shape: Shape, pool: int, n_way: int) -> list[Layer]:
    """Return the average pooling to ``pool`` × ``pool`` and the classifier."""
    channels = in_shape[0]
    return [
        Layer(op="avg_pool", in_shape=in_shape, out_shape=(channels, pool, pool)),
        Layer(op="linear", in_shape=(channels * pool**2, 1, 1), out_shape=(n_way, 1, 1), bias=True),
    ]
