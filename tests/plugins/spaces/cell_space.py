"""A space of cells as in DARTS, in small: two inputs a cell, dilated separable convolutions, and joined outputs.

hnas run --preset quick --space ./tests/plugins/spaces/cell_space.py:CellSpace
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from attrs import evolve
from torch import Tensor
from torch.nn import functional as F

from hnas import Architecture, Choice, ConfigError, Layer, NormStats, SearchSpace, SuperNet
from hnas.layer import Shape
from hnas.supernet import Params, Role

CELLS, CHANNELS = 2, 4
DILATIONS = {"separable": 1, "dilated": 2}
OPERATIONS = ("separable", "dilated", "pool", "skip")
EDGES = (("left", 0), ("right", 1), ("before", 1), ("first", 2))
"""The edges of a cell, each with the value that it reads: the two inputs are 0 and 1, the first sum is 2."""


class Network:
    """The layers of a network so far, each with the places of the values that it reads."""

    def __init__(self, shape: Shape) -> None:
        self.layers: list[Layer] = []
        self._shapes = [shape]

    def add(self, op: str, *read: int, channels: int = 0, **fields: Any) -> int:
        """Append a layer that reads these values; return the number of its output."""
        shapes, place = [self._shapes[v] for v in read], len(self._shapes)
        given = (sum(s[0] for s in shapes), *shapes[0][1:]) if op == "concat" else shapes[0]
        made = {"in_shape": given, "out_shape": (channels or given[0], *given[1:])} | fields
        self.layers.append(Layer(op=op, **made, reads=tuple(place - v for v in read)))
        self._shapes.append(self.layers[-1].out_shape)
        return place


class CellSpace(SearchSpace):
    """Two equal cells. In each, two values are sums of an operation on one value and one on another, and are joined."""

    name = "cells"

    def __init__(self, options: None = None) -> None:
        self._choices = tuple(Choice(name=edge, options=OPERATIONS) for edge, _ in EDGES)

    @property
    def choices(self) -> Sequence[Choice]:
        return self._choices

    def references(self) -> Mapping[str, Architecture]:
        return {"dilated": self.architecture(left="dilated", right="dilated", before="separable", first="separable")}

    def layers(self, arch: Architecture, input_shape: Shape, n_way: int) -> Sequence[Layer]:
        if min(*input_shape, n_way) < 1:
            raise ConfigError(f"cells: images of {input_shape} in {n_way} classes, expected positive sizes")
        picked, net = self.options(arch), Network(input_shape)
        stem = net.add("norm", net.add("conv2d", 0, channels=CHANNELS, kernel=3, padding=1))
        inputs = [stem, stem]
        for _ in range(CELLS):
            values = [net.add("norm", net.add("conv2d", value, channels=CHANNELS)) for value in inputs]
            for pair in (EDGES[:2], EDGES[2:]):
                values.append(net.add("add", *(_edge(net, str(picked[e]), values[v]) for e, v in pair)))
            inputs = [inputs[1], net.add("concat", *values[2:])]
        pooled = (2 * CHANNELS, 1, 1)
        last = net.add("avg_pool", inputs[1], out_shape=pooled)
        net.add("linear", last, out_shape=(n_way, 1, 1), bias=True)
        return net.layers

    def supernet(self, input_shape: Shape, n_way: int) -> SuperNet:
        return CellSuperNet(self, input_shape, n_way)


def _edge(net: Network, op: str, value: int) -> int:
    if op == "skip":
        return value
    if op == "pool":
        return net.add("max_pool", value, kernel=3, padding=1)
    spread = DILATIONS[op]
    value = net.add("conv2d", net.add("relu", value), kernel=3, padding=spread, dilation=spread, groups=CHANNELS)
    return net.add("norm", net.add("conv2d", value))


class TanhSpace(CellSpace):
    """The same with an activation that hnas does not know."""

    name = "tanh-cells"

    def layers(self, arch: Architecture, input_shape: Shape, n_way: int) -> Sequence[Layer]:
        found = super().layers(arch, input_shape, n_way)
        return [evolve(la, op="tanh", counts=(0, 0)) if la.op == "relu" else la for la in found]


class CellSuperNet(SuperNet):
    """Weights of every operation on every edge; a network uses those of the operations that it has."""

    def __init__(self, space: CellSpace, input_shape: Shape, n_way: int) -> None:
        self._space = space
        self._shapes: dict[str, tuple[int, ...]] = {"stem.weight": (CHANNELS, input_shape[0], 3, 3)}
        norms = ["stem"]
        for cell in range(CELLS):
            for i, given in enumerate((CHANNELS, CHANNELS * (1 + (cell > 0)))):
                self._shapes[f"in{cell}_{i}.weight"] = (CHANNELS, given, 1, 1)
                norms.append(f"in{cell}_{i}")
            for name in (f"{edge}{cell}_{op}" for edge, _ in EDGES for op in DILATIONS):
                self._shapes |= {
                    f"{name}.depthwise": (CHANNELS, 1, 3, 3),
                    f"{name}.pointwise": (CHANNELS, CHANNELS, 1, 1),
                }
                norms.append(name)
        self._shapes |= {f"norm_{n}.{part}": (CHANNELS,) for n in norms for part in ("weight", "bias")}
        self._shapes |= {"fc.weight": (n_way, 2 * CHANNELS), "fc.bias": (n_way,)}

    @property
    def roles(self) -> Mapping[str, Role]:
        return {name: "norm" if name.startswith("norm_") else "weight" for name in self._shapes}

    def init(self, generator: torch.Generator) -> Params:
        params = {}
        for name, shape in self._shapes.items():
            if len(shape) == 1:
                params[name] = torch.ones(shape) if name.endswith(".weight") else torch.zeros(shape)
            else:
                params[name] = (2 / torch.Size(shape[1:]).numel()) ** 0.5 * torch.randn(shape, generator=generator)
        return params

    def head(self, arch: Architecture) -> tuple[str, str]:
        return "fc.weight", "fc.bias"

    def share(self, params: Params, arch: Architecture) -> Params:
        unused = {f"{e}{c}_{op}" for c in range(CELLS) for e, _ in EDGES for op in DILATIONS} - {
            f"{e}{c}_{op}" for c in range(CELLS) for e, op in self._space.options(arch).items()
        }
        return {k: v for k, v in params.items() if k.partition(".")[0].removeprefix("norm_") not in unused}

    def forward(self, shared: Params, x: Tensor, arch: Architecture, *, stats: NormStats | None = None) -> Tensor:
        picked = self._space.options(arch)
        stem = _normalise(F.conv2d(x, shared["stem.weight"], padding=1), shared, "norm_stem", stats)
        inputs = [stem, stem]
        for cell in range(CELLS):
            names = [f"in{cell}_{i}" for i in range(2)]
            values = [
                _normalise(F.conv2d(value, shared[f"{name}.weight"]), shared, f"norm_{name}", stats)
                for name, value in zip(names, inputs, strict=True)
            ]
            for pair in (EDGES[:2], EDGES[2:]):
                a, b = (_run(shared, f"{e}{cell}", str(picked[e]), values[v], stats) for e, v in pair)
                values.append(a + b)
            inputs = [inputs[1], torch.cat(values[2:], 1)]
        return F.linear(inputs[1].mean((2, 3)), shared["fc.weight"], shared["fc.bias"])


def _run(shared: Params, edge: str, op: str, x: Tensor, stats: NormStats | None) -> Tensor:
    if op == "skip":
        return x
    if op == "pool":
        return F.max_pool2d(x, 3, 1, 1)
    name, spread = f"{edge}_{op}", DILATIONS[op]
    x = F.conv2d(F.relu(x), shared[f"{name}.depthwise"], padding=spread, dilation=spread, groups=CHANNELS)
    return _normalise(F.conv2d(x, shared[f"{name}.pointwise"]), shared, f"norm_{name}", stats)


def _normalise(x: Tensor, shared: Params, name: str, stats: NormStats | None) -> Tensor:
    if stats is not None and stats.mode == "apply":
        mean, var = stats.mean[name], stats.var[name]
    else:
        mean, var = x.mean((0, 2, 3)), x.var((0, 2, 3), unbiased=False)
        if stats is not None:
            stats.mean[name], stats.var[name] = mean.detach(), var.detach()
    scale = shared[f"{name}.weight"] * (var + 1e-5).rsqrt()
    return x * scale[:, None, None] + (shared[f"{name}.bias"] - mean * scale)[:, None, None]
