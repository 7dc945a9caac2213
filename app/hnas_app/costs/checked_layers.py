"""The layers of a space and its whole networks, checked before they are priced or measured."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from numbers import Integral
from typing import Any

import attrs

from hnas.architecture import Architecture
from hnas.errors import DeviceError, PluginError, short
from hnas.layer import Layer, Shape
from hnas.space import SearchSpace
from hnas.toolkit.dataflow import connects, dataflow
from hnas_app.executors.plugin_exit import named, wrong


def distinct_layers(space: SearchSpace, input_shape: Shape, n_way: int) -> list[Layer]:
    """Return every layer that some architecture of a space has, for any place.

    Raises `PluginError` for what is no possible layer.
    """
    for method in ("smallest", "largest"):  # first: of layers that equal nothing, all networks are visited
        arch = getattr(space, method)()
        if not isinstance(arch, Architecture):
            raise wrong(space, method, short(arch), "an Architecture")
        with _made_in(space, "layers"):
            layers = space.layers(arch, input_shape, n_way)
        _check(space, layers)
        if any(layer.reads for layer in layers):
            try:
                dataflow(layers)
            except DeviceError as cause:
                raise PluginError(f"{named(space)}, in layers() of its {method} network: {cause}") from cause
    with _made_in(space, "layers"):
        found = space.distinct_layers(input_shape, n_way)
    _check(space, found)
    return [attrs.evolve(layer, reads=()) if layer.reads else layer for layer in found]


def whole(space: SearchSpace, layers: Sequence[Layer]) -> tuple[Layer, ...]:
    """Return the layers of a network that is measured end to end.

    Raises `PluginError` if a sum is read as one of a chain: in a space's first cell, say, whose two inputs are one.
    """
    reads = dataflow(layers) if connects(layers) else []
    for n, (layer, read) in enumerate(zip(layers, reads, strict=False), start=1):
        if layer.op == "add" and not layer.reads and len(read) < 2:
            raise PluginError(
                f"{named(space)}, in layers(): layer {n} of {len(layers)}, {layer.key}, adds nothing to the output of "
                "the layer before it, as the layers stand",
                hint="state what it reads, as in Layer(op='add', …, reads=(1, 3)): 1 is the layer before",
            )
    return tuple(layers)


@contextmanager
def _made_in(space: SearchSpace, method: str) -> Iterator[None]:
    """Name the space in the error for a layer that cannot be."""
    try:
        yield
    except PluginError as cause:
        raise PluginError(f"{named(space)}, in {method}(): {cause}", hint=cause.hint) from cause


def _check(space: SearchSpace, layers: Any) -> None:
    if not isinstance(layers, Sequence):
        raise wrong(space, "layers", short(layers), "a sequence of hnas.Layer")
    for layer in layers:
        if not isinstance(layer, Layer):
            raise wrong(space, "layers", short(layer), "hnas.Layer")
        windows = (layer.kernel, layer.stride, layer.padding, layer.groups, layer.dilation)
        numbers = (*layer.in_shape, *layer.out_shape, *windows, *(layer.counts or ()), *layer.reads)
        tuples = all(isinstance(shape, tuple) for shape in (layer.in_shape, layer.out_shape, layer.reads))
        if not (isinstance(layer.op, str) and tuples and all(isinstance(n, Integral) for n in numbers)):
            raise wrong(space, "layers", str(layer), "an op's name, shapes as tuples, and whole numbers")
