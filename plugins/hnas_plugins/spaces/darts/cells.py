"""The layers of cells, of what stands before and behind them, and the names of their weights.

The super-net runs these layers as they are, so that what is priced is what is trained.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from attrs import frozen

from hnas import Layer
from hnas.layer import Shape
from hnas_plugins.spaces.darts.genotype import NODES, OPERATIONS, Cell

SHIFTED = "shifted"
"""The last part of the name of a convolution that begins at the second pixel."""
MIX = "mix"
"""The sum of all operations on all edges of a node, weighed by architecture weights; it is never priced."""
ARCH = ("normal.arch", "reduce.arch")
"""The architecture weights of the normal cells and of the reductions: an edge's are a row, nodes in turn."""


@frozen
class Part:
    """Layers in turn, and the name of each one's weights, empty for those without."""

    layers: tuple[Layer, ...]
    names: tuple[str, ...]


class Network:
    """The layers of a part so far. Values are numbers: n is the n-th layer's output; 0 that of the layer before this
    part, -1 that of the layer before that, and so on."""

    def __init__(self, given: Mapping[int, Shape]) -> None:
        self._shapes = dict(given)
        self._layers: list[Layer] = []
        self._names: list[str] = []

    @property
    def part(self) -> Part:
        return Part(tuple(self._layers), tuple(self._names))

    def add(self, op: str, *read: int, name: str = "", channels: int = 0, stride: int = 1, **fields: Any) -> int:
        """Append a layer that reads these values; return the number of its output. Maps shrink by ``stride`` alone."""
        n, (first, *others) = len(self._layers) + 1, (self._shapes[v] for v in read)
        shape = (first[0] + sum(s[0] for s in others), *first[1:]) if op == "concat" else first
        out = (channels or shape[0], *(-(-size // stride) for size in shape[1:]))
        places = tuple(n - v for v in read)
        made: dict[str, Any] = {"in_shape": shape, "out_shape": out, "stride": stride} | fields
        self._layers.append(Layer(op=op, **made, reads=places))
        self._names.append(name)
        self._shapes[n] = self._layers[-1].out_shape
        return n

    def convolve(self, value: int, name: str, channels: int, kernel: int = 1, **fields: Any) -> int:
        """Append a convolution and its normalisation, which are called ``name`` and ``name_norm``."""
        value = self.add("conv2d", value, name=name, channels=channels, kernel=kernel, padding=kernel // 2, **fields)
        return self.add("norm", value, name=f"{name}_norm")

    def halve(self, value: int, name: str, channels: int) -> int:
        """Append ReLU and a 1×1 convolution of stride 2, half of whose channels see every second pixel from the second
        on; ``FactorizedReduce`` in the code of DARTS, which knows even maps only: beyond the edge are zeros."""
        value = self.add("relu", value)
        halves = ("first", channels // 2), (SHIFTED, channels - channels // 2)
        pair = [self.add("conv2d", value, name=f"{name}.{half}", channels=c, stride=2) for half, c in halves]
        return self.add("norm", self.add("concat", *pair), name=f"{name}_norm")

    def apply(self, op: str, value: int, name: str, stride: int) -> int:
        """Append an operation of an edge."""
        channels = self._shapes[value][0]
        if op == "skip_connect":
            return value if stride == 1 else self.halve(value, name, channels)
        kind, kernel = op[:3], int(op[-1])
        if op.endswith("pool_3x3"):
            return self.add(op.removesuffix("_3x3"), value, kernel=kernel, stride=stride, padding=1)
        spread = 2 if kind == "dil" else 1
        for turn in (1,) if kind == "dil" else (1, 2):
            window = {"kernel": kernel, "padding": spread * (kernel // 2), "dilation": spread, "groups": channels}
            value = self.add("relu", value)
            value = self.add("conv2d", value, name=f"{name}.depthwise{turn}", stride=stride, **window)
            value, stride = self.convolve(value, f"{name}.pointwise{turn}", channels), 1
        return value


@lru_cache(maxsize=1 << 12)
def stem(kind: str, image: Shape, channels: int) -> tuple[Part, int]:
    """Return the layers before the first cell, and the value that its first input is; its second one is their output.

    One convolution to three times the channels, which is both inputs; or three that halve, of which the second one's
    output is the first input.
    """
    net = Network({0: image})
    if kind == "cifar":
        net.convolve(0, "stem", 3 * channels, 3)
        return net.part, 0
    value = net.add("relu", net.convolve(0, "stem1", channels // 2, 3, stride=2))
    middle = net.convolve(value, "stem2", channels, 3, stride=2)
    last = net.convolve(net.add("relu", middle), "stem3", channels, 3, stride=2)
    return net.part, middle - last


@lru_cache(maxsize=1 << 14)
def cell(edges: Cell | None, given: tuple[Shape, Shape], back: int, channels: int, reduces: bool, halves: bool) -> Part:
    """Return the layers of a cell. Cached: a search prices networks of the same cells thousands of times.

    Without ``edges`` it is the mixture: every operation on every edge, which weights of the cell's kind add up. A node
    reads its edges in turn, each with the operations in their order. ``given`` are the shapes of the outputs of the
    cell before the last one, which is the value ``back``, and of the last one. If that one was a reduction, the other's
    output ``halves``.
    """
    net = Network({back: given[0], 0: given[1]})
    values = [
        net.halve(back, "in0", channels) if halves else net.convolve(net.add("relu", back), "in0", channels),
        net.convolve(net.add("relu", 0), "in1", channels),
    ]
    for n, node in enumerate(NODES):
        pairs = edges[2 * n : 2 * n + 2] if edges else [(op, read) for read in range(node) for op in OPERATIONS]
        outputs = [
            net.apply(op, values[read], f"edge{read}_{node}.{op}", 2 if reduces and read < 2 else 1)
            for op, read in pairs
        ]
        mixed: dict[str, Any] = {} if edges else {"name": ARCH[reduces], "counts": (0, 0)}
        values.append(net.add("add" if edges else MIX, *outputs, **mixed))
    net.add("concat", *values[2:])
    return net.part


@lru_cache(maxsize=1 << 10)
def head(last: Shape, n_way: int) -> Part:
    """Return the pooling of the whole map and the classifier."""
    net = Network({0: last})
    pooled = net.add("avg_pool", 0, out_shape=(last[0], 1, 1))
    net.add("linear", pooled, name="fc", out_shape=(n_way, 1, 1), bias=True)
    return net.part
