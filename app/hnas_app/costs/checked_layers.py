"""The layers of a space, checked before they are priced or measured."""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Integral
from typing import Any

from hnas.architecture import Architecture
from hnas.errors import short
from hnas.layer import Layer, Shape
from hnas.space import SearchSpace
from hnas_app.executors.plugin_exit import wrong


def distinct_layers(space: SearchSpace, input_shape: Shape, n_way: int) -> list[Layer]:
    """Return every layer that some architecture of a space has. Raises `PluginError` for what is no possible layer."""
    for method in ("smallest", "largest"):  # first: of layers that equal nothing, all networks are visited
        arch = getattr(space, method)()
        if not isinstance(arch, Architecture):
            raise wrong(space, method, short(arch), "an Architecture")
        _check(space, space.layers(arch, input_shape, n_way))
    found = space.distinct_layers(input_shape, n_way)
    _check(space, found)
    return found


def _check(space: SearchSpace, layers: Any) -> None:
    if not isinstance(layers, Sequence):
        raise wrong(space, "layers", short(layers), "a sequence of hnas.Layer")
    for layer in layers:
        if not isinstance(layer, Layer):
            raise wrong(space, "layers", short(layer), "hnas.Layer")
        if not _is_possible(layer):
            raise wrong(space, "layers", str(layer), "an op's name, whole numbers from 1 up, and padding from 0 up")


def _is_possible(layer: Layer) -> bool:
    shapes = (layer.in_shape, layer.out_shape)
    return (
        isinstance(layer.op, str)
        and all(isinstance(shape, tuple) and len(shape) == 3 for shape in shapes)
        and all(_whole(n, 1) for n in (*layer.in_shape, *layer.out_shape, layer.kernel, layer.stride, layer.groups))
        and _whole(layer.padding, 0)
    )


def _whole(number: Any, least: int) -> bool:
    return isinstance(number, Integral) and int(number) >= least
