"""Which earlier results each layer of a network reads, from the order of its layers: chains and residual blocks."""

from __future__ import annotations

import math
from collections.abc import Sequence

from hnas.errors import DeviceError
from hnas.layer import Layer, Shape


def dataflow(layers: Sequence[Layer]) -> list[tuple[int, ...]]:
    """Return the numbers of the values that each layer reads: 0 is the network's input, n the n-th layer's output.

    A layer reads what its `Layer.reads` says. Without that it reads the output of the one before. If that does not fit,
    it begins a branch and reads the latest value of its input shape. The next ``add`` joins the branch with the output
    before it. An ``add`` without a branch to join reads one value. Raises `DeviceError` if that connects no network.
    """
    if any(layer.reads for layer in layers):
        return _given(layers)
    if not layers:
        raise DeviceError("a network without layers cannot be run", hint="give it at least one layer")
    shapes, reads = [layers[0].in_shape], list[tuple[int, ...]]()
    waiting: list[int] = []
    for layer in layers:
        last = len(shapes) - 1
        read = next((v for v in range(last, -1, -1) if _fits(shapes[v], layer)), None)
        if read is None:
            raise DeviceError(
                f"layer {last + 1} of the network, {layer.key}, takes {_text(layer.in_shape)}: the one before gives "
                f"{_text(shapes[last])}, and no earlier one gives that shape",
                hint="a layer takes the output of the one before, or begins a branch that an `add` joins",
            )
        if read != last:
            waiting.append(last)
        if layer.op == "add" and waiting and shapes[waiting[-1]] == layer.in_shape:
            reads.append((read, waiting.pop()))
        else:
            reads.append((read,))
        shapes.append(layer.out_shape)
    if waiting:
        raise DeviceError(
            f"the output of layer {waiting[-1]} of the network, {_text(shapes[waiting[-1]])}, is never used",
            hint="the layers after it begin a branch that no `add` joins with it",
        )
    return reads


def _given(layers: Sequence[Layer]) -> list[tuple[int, ...]]:
    shapes, reads = [layers[0].in_shape], list[tuple[int, ...]]()
    for i, layer in enumerate(layers):
        read = tuple(i - place + 1 for place in layer.reads or (1,))
        given = [shapes[v] for v in read if 0 <= v <= i]
        joined = [(sum(c for c, _, _ in given), h, w) for _, h, w in given] if layer.op == "concat" else given
        if len(given) < len(read) or not all(_fits(shape, layer) for shape in joined):
            raise DeviceError(
                f"layer {i + 1} of the network, {layer.key}, reads {', '.join(map(_text, given)) or 'nothing'}",
                hint="its `reads` are relative places: 1 is the layer before",
            )
        reads.append(read)
        shapes.append(layer.out_shape)
    return reads


def connects(layers: Sequence[Layer]) -> bool:
    """Return whether the layers make a network that can be run from them alone."""
    try:
        dataflow(layers)
    except DeviceError:
        return False
    return True


def _fits(given: Shape, layer: Layer) -> bool:
    """Return whether ``layer`` can take a value of this shape; a linear layer takes it flattened."""
    return math.prod(given) == math.prod(layer.in_shape) if layer.op == "linear" else given == layer.in_shape


def _text(shape: Shape) -> str:
    return "x".join(map(str, shape))
