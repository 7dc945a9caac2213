"""Layers as ONNX graphs. Imports onnx.

The weights are those of the C program, `hnas_backends.layerbench.oracle.numbers`, so that one oracle serves both.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from hnas import Layer
from hnas.toolkit.activations import ACTIVATIONS
from hnas_backends.geometry import is_adaptive
from hnas_backends.layerbench.lines import connections, unknown_op
from hnas_backends.layerbench.oracle import cells, numbers

OPSET = 17


def graph(layers: Sequence[Layer]) -> bytes:
    """Return a network of layers as an ONNX model: ``x`` (1, C, H, W) to ``y``. `lines.connections` says how.

    Raises `DeviceError` for an operation that is not known, and if the layers make no network.
    """
    made = _Graph()
    for n, (layer, read) in enumerate(zip(layers, connections(layers), strict=True)):
        made.add(layer, 16 * n, read, last=n + 1 == len(layers))
    (c, h, w), last = layers[0].in_shape, layers[-1]
    out = [1, last.out_shape[0], *(last.out_shape[1:] if last.op != "linear" else ())]
    made.nodes[-1].output[0] = "y"
    body = helper.make_graph(
        made.nodes,
        "layers",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, c, h, w])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, out)],
        made.constants,
    )
    model = helper.make_model(body, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=8)
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString())


class _Graph:
    """Nodes and constants so far, and the name of each layer's result."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []
        self._values = ["x"]
        self._taken = "x"

    def add(self, layer: Layer, seed: int, read: tuple[int, ...], *, last: bool) -> None:
        """Append one layer that reads the results with those numbers. Only the last linear one gives no map."""
        self._taken, *others = (self._values[v] for v in read)
        channels, k, p = layer.out_shape[0], layer.kernel, layer.padding
        spread, window = [layer.dilation] * 2, layer.dilation * (k - 1) + 1
        match layer.op:
            case "conv2d":
                taken = layer.in_shape[0] // layer.groups
                kernels = numbers(channels * taken * k * k, seed + 7).reshape(channels, taken, k, k)
                self._node(
                    "Conv", kernels, *self._bias(layer, seed),
                    kernel_shape=[k, k], strides=[layer.stride] * 2, pads=[p] * 4, group=layer.groups,
                    dilations=spread,
                )  # fmt: skip
            case "linear":
                taken = math.prod(layer.in_shape)
                self._node("Flatten")
                weights = numbers(channels * taken, seed + 7).reshape(channels, taken)
                self._node("Gemm", weights, *self._bias(layer, seed), transB=1)
                if not last:
                    self._node("Unsqueeze", self._constant(np.array([2, 3]), np.int64))
            case "norm":
                scale, shift = numbers(channels, seed + 7), numbers(channels, seed + 8)
                self._node("BatchNormalization", scale, shift, np.zeros(channels), np.ones(channels), epsilon=0.0)
            case "max_pool":
                down = tuple((n + 2 * p - window) // layer.stride + 1 for n in layer.in_shape[1:])
                self._node(
                    "MaxPool", kernel_shape=[k, k], strides=[layer.stride] * 2, pads=[p] * 4, dilations=spread,
                    ceil_mode=int(down != layer.out_shape[1:]),
                )  # fmt: skip
            case "avg_pool" if not is_adaptive(layer):
                self._node(
                    "AveragePool", kernel_shape=[k, k], strides=[layer.stride] * 2, pads=[p] * 4, count_include_pad=1
                )
            case "avg_pool":
                self._avg_pool(layer)
            case "concat":
                self._node("Concat", *others, axis=1)
            case "add" if others:
                for other in others:
                    self._node("Add", other)
            case "add":
                self._node("Add", numbers(math.prod(layer.in_shape), seed + 7).reshape(1, *layer.in_shape))
            case op if op in ACTIVATIONS:
                known = ACTIVATIONS[op]
                self._node(known.operator, *map(np.array, known.inputs), **known.attributes)
            case _:
                raise unknown_op(layer, "onnxruntime runtime")
        self._values.append(self._taken)

    def _avg_pool(self, layer: Layer) -> None:
        """Append an adaptive pooling: one of ONNX's if all cells have one size, else two products with a matrix."""
        (_, h, w), (_, out_h, out_w) = layer.in_shape, layer.out_shape
        if (out_h, out_w) == (1, 1):
            self._node("GlobalAveragePool")
        elif h % out_h == 0 and w % out_w == 0:
            size = [h // out_h, w // out_w]
            self._node("AveragePool", kernel_shape=size, strides=size)
        else:
            self._node("MatMul", _means(w, out_w).T)
            self._node("MatMul", _means(h, out_h), constant_first=True)

    def _bias(self, layer: Layer, seed: int) -> list[np.ndarray[Any, Any]]:
        return [numbers(layer.out_shape[0], seed + 8)] if layer.bias else []

    def _node(
        self, kind: str, *others: str | np.ndarray[Any, Any], constant_first: bool = False, **attributes: Any
    ) -> None:
        """Append a node that reads the last result, and others: results by name, or constants."""
        names = [other if isinstance(other, str) else self._constant(other) for other in others]
        inputs = [*names, self._taken] if constant_first else [self._taken, *names]
        self._taken = f"v{len(self.nodes) + 1}"
        self.nodes.append(helper.make_node(kind, inputs, [self._taken], **attributes))

    def _constant(self, value: np.ndarray[Any, Any], kind: type[np.generic] = np.float32) -> str:
        name = f"c{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(value.astype(kind), name))
        return name


def _means(size: int, count: int) -> np.ndarray[Any, Any]:
    """Return the matrix (count, size) whose rows take the mean of one cell each."""
    matrix = np.zeros((count, size))
    for row, (first, end) in enumerate(cells(size, count)):
        matrix[row, first:end] = 1 / (end - first)
    return matrix
