"""Which earlier results each layer of a network reads: as the layers say, or from their order."""

from __future__ import annotations

import math
from collections.abc import Sequence

from hnas.errors import DeviceError
from hnas.layer import Layer, Shape
from hnas.toolkit.operations import OPERATIONS


def dataflow(layers: Sequence[Layer]) -> list[tuple[int, ...]]:
    """Return the numbers of the values that each layer reads: 0 is the network's input, n the n-th layer's output.

    A layer reads what its ``reads`` say. Without them it reads the output of the one before. If that does not fit, it
    begins a branch and reads the latest value of its input shape. The next ``add`` joins the branch with the output
    before it. An ``add`` without a branch to join reads one value, and so does a ``concat`` that is alone, to be
    measured. Raises `DeviceError` if that connects no network.
    """
    if not layers:
        raise DeviceError("a network without layers cannot be run", hint="give it at least one layer")
    shapes, reads = [layers[0].in_shape], list[tuple[int, ...]]()
    waiting: list[int] = []
    for layer in layers:
        last = len(shapes) - 1
        if layer.reads:
            read = _stated(layer, shapes)
            waiting = [v for v in waiting if v not in read]
        else:
            alone = layer.op != "concat" or len(layers) == 1
            first = next((v for v in range(last, -1, -1) if alone and _fits(shapes[v], layer)), None)
            if first is None:
                raise DeviceError(
                    f"layer {last + 1} of the network, {layer.key}, takes {_text(layer.in_shape)}: the one before "
                    f"gives {_text(shapes[last])}, and it does not say what else it reads",
                    hint="a layer takes the output of the one before, begins a branch that an `add` joins, or states "
                    "its Layer.reads",
                )
            if first != last:
                waiting.append(last)
            joins = layer.op == "add" and waiting and shapes[waiting[-1]] == layer.in_shape
            read = (first, waiting.pop()) if joins else (first,)
        reads.append(read)
        shapes.append(layer.out_shape)
    if unused := waiting or sorted({*range(1, len(layers))}.difference(*reads)):
        raise DeviceError(
            f"the output of layer {unused[-1]} of the network, {_text(shapes[unused[-1]])}, is never used",
            hint="the layers after it begin a branch that no `add` joins with it; state what they read: Layer.reads",
        )
    return reads


def connects(layers: Sequence[Layer]) -> bool:
    """Return whether the layers make a network that can be run from them alone."""
    try:
        dataflow(layers)
    except DeviceError:
        return False
    return True


def _stated(layer: Layer, shapes: Sequence[Shape]) -> tuple[int, ...]:
    """Return the values that a layer says it reads. Raises `DeviceError` for those that it cannot take."""
    read = tuple(len(shapes) - place for place in layer.reads)
    taken = [shapes[v] for v in read if 0 <= v < len(shapes)]
    if layer.op == "concat":
        channels, *size = layer.in_shape
        right = len(read) > 1 and sum(s[0] for s in taken) == channels and all([*s[1:]] == size for s in taken)
    else:
        right = all(_fits(s, layer) for s in taken) and (len(read) == 1 or OPERATIONS.get(layer.op) in ("join", None))
    if len(taken) < len(read) or not right:
        told = " and ".join(_text(shapes[v]) if 0 <= v < len(shapes) else "nothing" for v in read)
        raise DeviceError(
            f"layer {len(shapes)} of the network, {layer.key}, reads={layer.reads}, cannot take {told}",
            hint="1 is the layer before, and so on back to the network's input; `concat` reads two values or more "
            "whose channels add up, `add` values of its shape, other layers one value",
        )
    return read


def _fits(given: Shape, layer: Layer) -> bool:
    """Return whether ``layer`` can take a value of this shape; a linear layer takes it flattened."""
    return math.prod(given) == math.prod(layer.in_shape) if layer.op == "linear" else given == layer.in_shape


def _text(shape: Shape) -> str:
    return "x".join(map(str, shape))
