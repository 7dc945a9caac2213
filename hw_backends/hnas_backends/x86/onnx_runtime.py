"""onnxruntime as a runtime: ONNX graphs on one thread. Imports onnx and onnxruntime (``hnas[onnx]``).

onnxruntime fuses: a normalisation is folded into the convolution before it, and a convolution does most activations as
it writes its result. So a convolution's row is that of a convolution **with its normalisation and a relu**. ``norm`` is
free, and so are activations that `hnas.toolkit.activations` marks as free; the others each have a row. ``docs/x86.md``
says for which networks that is right.

A call takes some microseconds before the first node runs. They are measured with an empty graph and taken off layers
and networks alike: a latency is the time within the graph. Optimisations are those of level ``extended``: the next one
also changes the layout of maps (NCHWc) between neighbouring layers, which no sum over layers can follow.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import onnxruntime as ort

from hnas import DeviceError, Layer
from hnas.toolkit.activations import ACTIVATIONS
from hnas_backends.layerbench.lines import OPS
from hnas_backends.layerbench.oracle import numbers
from hnas_backends.x86.onnx_graph import graph
from hnas_backends.x86.options import X86Options
from hnas_backends.x86.timing import Sampler

FREE = frozenset({"norm", *(name for name, known in ACTIVATIONS.items() if known.free)})
EMPTY_NODES = (1, 33)
"""Nodes of the two graphs that separate a call's time from a node's."""


class OnnxRuntime:
    """Layers as onnxruntime runs them, a convolution with the layers fused into it."""

    ops: frozenset[str] | None = frozenset(OPS) - FREE

    def __init__(self, options: X86Options, core: int) -> None:
        self._sampler = Sampler(options, core)
        self.name = f"onnxruntime {ort.__version__}"
        self.settings: Mapping[str, Any] = {"level": "extended", "conv2d": "with norm and relu"}
        self.conditions: Mapping[str, Any] = {"call_overhead_ms": round(self._call_overhead(), 6)}

    def layers(self, layers: Sequence[Layer]) -> Iterator[Sequence[float]]:
        """Yield the samples of each layer, less the overhead of a call, measured again for each block of layers."""
        overhead = self._call_overhead() if layers else 0.0
        for layer in layers:
            yield self._samples(with_fused(layer), overhead)

    def network(self, layers: Sequence[Layer]) -> Sequence[float]:
        """Return the samples of a network as one graph, less the overhead of the call."""
        return self._samples(layers, self._call_overhead())

    def close(self) -> None:
        """Nothing is held."""

    def _samples(self, layers: Sequence[Layer], overhead: float) -> list[float]:
        # A layer whose only node is optimised away may take as long as an empty graph.
        return [max(taken - overhead, 1e-6) for taken in self._sampler.samples(Call(layers))]

    def _call_overhead(self) -> float:
        """Return the time of a call without nodes, from two nearly empty graphs: one of few nodes and one of many."""
        nothing = Layer(op="elu", in_shape=(1, 1, 1), out_shape=(1, 1, 1))
        few, many = EMPTY_NODES
        short, long = (statistics.median(self._sampler.samples(Call([nothing] * n))) for n in EMPTY_NODES)
        return max(0.0, short - few * (long - short) / (many - few))


def with_fused(layer: Layer) -> list[Layer]:
    """Return a layer with what onnxruntime fuses into it."""
    if layer.op != "conv2d":
        return [layer]
    return [layer, *(Layer(op=op, in_shape=layer.out_shape, out_shape=layer.out_shape) for op in ("norm", "relu"))]


class Call:
    """A graph that is ready to run: its input and output stay where they are."""

    def __init__(self, layers: Sequence[Layer]) -> None:
        options = ort.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
        options.log_severity_level = 3
        try:
            self._session = ort.InferenceSession(graph(layers), options, providers=["CPUExecutionProvider"])
            shape = layers[0].in_shape
            x = numbers(math.prod(shape), 1).reshape(1, *shape).astype(np.float32)
            self._binding = self._session.io_binding()
            self._binding.bind_ortvalue_input("x", ort.OrtValue.ortvalue_from_numpy(x))
            self._y = ort.OrtValue.ortvalue_from_shape_and_type(self._session.get_outputs()[0].shape, np.float32)
            self._binding.bind_ortvalue_output("y", self._y)
        except DeviceError:
            raise
        except Exception as cause:  # its errors have no common root of their own
            raise DeviceError(
                f"onnxruntime {ort.__version__} cannot run {', '.join(la.key for la in layers)[:300]}: {cause}"
            ) from cause

    def __call__(self) -> None:
        self._session.run_with_iobinding(self._binding)

    def result(self) -> np.ndarray[Any, Any]:
        """Run, and return the output."""
        self()
        result: np.ndarray[Any, Any] = self._y.numpy()
        return result
