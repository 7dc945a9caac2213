"""Common parts of the convolutional spaces: the options of a convolution, and the layers it comes with."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from attrs import frozen

from hnas import ConfigError, Layer
from hnas.layer import Shape
from hnas.settings import one_of, setting
from hnas.toolkit import activations
from hnas_plugins.engine.unit import Unit

KERNELS = (1, 3, 5)
ACTIVATIONS = tuple(activations.ACTIVATIONS)[:6]
"""The six of Tables 7 and 8, in the order of their genes; other known ones are for spaces that name them."""


def classifier_setting() -> Any:
    """Return the option of the super-net's classifier, which `ConvSuperNet` takes."""
    return setting(
        "own",
        "where a task's classes start: each at its own output, or all at one, which then serves any number of classes",
        one_of("own", "shared"),
    )


@frozen(kw_only=True)
class ConvBlock:
    """One convolution with its normalisation and activation, as the genes of one layer set them."""

    kernel: int
    width: int
    activation: str


@frozen(kw_only=True)
class Convolution(Unit):
    """A convolution as a pass runs it, and the part of the super-net's weights that it uses."""

    channels: int
    width: int
    norm: str
    """The activation that its gamma and beta may be for: its own, or that of the sum it is part of."""
    drops: bool = False
    """Whether DropBlock, in training, drops parts of the sum."""


def check_task(space: str, input_shape: Shape, n_way: int) -> None:
    """Raise `ConfigError` unless images and classes have sizes that a network can be built for."""
    if len(input_shape) != 3 or min(input_shape) < 1 or n_way < 1:
        raise ConfigError(
            f"{space}: images of {'x'.join(map(str, input_shape))} in {n_way} classes make no network; expected "
            "positive channels x height x width, and at least one class",
            hint="check the size of the task's images, or --input and --n-way; Omniglot's are 1x28x28",
        )


@lru_cache(maxsize=1 << 15)
def conv_layers(in_shape: Shape, block: ConvBlock, stride: int) -> tuple[Layer, Layer, Layer]:
    """Return convolution, normalisation and activation. Cached: a search prices the same thousands 100,000 times.

    The convolution has a bias, as a deployed network does: the normalisation is folded into it. A stride of 2 halves
    the map with rounding up.
    """
    _, height, width = in_shape
    out = (block.width, -(-height // stride), -(-width // stride))
    conv = Layer(
        op="conv2d",
        in_shape=in_shape,
        out_shape=out,
        kernel=block.kernel,
        stride=stride,
        padding=block.kernel // 2,
        bias=True,
    )
    return conv, Layer(op="norm", in_shape=out, out_shape=out), Layer(op=block.activation, in_shape=out, out_shape=out)


@lru_cache(maxsize=1 << 12)
def halving_layer(in_shape: Shape) -> Layer:
    """Return the 2×2 max-pooling that halves a map with rounding up."""
    channels, height, width = in_shape
    return Layer(
        op="max_pool", in_shape=in_shape, out_shape=(channels, -(-height // 2), -(-width // 2)), kernel=2, stride=2
    )


@lru_cache(maxsize=1 << 12)
def head_layers(in_shape: Shape, pool: int, n_way: int) -> tuple[Layer, Layer]:
    """Return the average pooling to ``pool`` × ``pool`` and the classifier.

    An ``avg_pool`` is adaptive: its shapes define it, and its kernel and stride are left at 1.
    """
    channels = in_shape[0]
    return (
        Layer(op="avg_pool", in_shape=in_shape, out_shape=(channels, pool, pool)),
        Layer(op="linear", in_shape=(channels * pool**2, 1, 1), out_shape=(n_way, 1, 1), bias=True),
    )
