"""The super-net of DARTS cells: weights of every operation on every edge of every cell."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache

import torch
from torch import Tensor
from torch.nn import functional as F

from hnas import Architecture, Layer, NormStats, Proposal, SuperNet
from hnas.supernet import Params, Role
from hnas.toolkit.learning import normalise
from hnas_plugins.spaces.darts.cells import ARCH, MIX, SHIFTED, Part
from hnas_plugins.spaces.darts.genotype import MIXED, NODES, OPERATIONS, Edge, Genotype

HEAD = "fc.weight", "fc.bias"
SPREAD = 1e-3
"""Standard deviation of fresh architecture weights, as in the code of DARTS: all operations are mixed alike."""


class DartsSuperNet(SuperNet):
    """Run the layers that the space gives an architecture, with the weights of their names.

    A convolution's weights are named after its cell, its edge and its operation: ``cell3.edge0_2.sep_conv_3x3.…``. Two
    networks share those of an edge if they have the same operation on it. The classifier is ``fc.weight`` and
    ``fc.bias``, of one row with ``classifier="shared"``.

    The relaxed network has all operations on all edges, each weighed by the softmax of its edge's architecture weights:
    ``normal.arch`` and ``reduce.arch``, (14 edges, 8 operations), which all cells of a kind share. `decode` keeps for
    each node the two edges whose strongest operation is the strongest, ``none`` aside.
    """

    def __init__(
        self,
        parts: Callable[[Architecture], Iterable[tuple[str, Part]]],
        covering: Sequence[Architecture],
        n_way: int,
        *,
        classifier: str,
        of_genotype: Callable[[Genotype], Architecture],
    ) -> None:
        """Take the parts of an architecture, as `Darts.parts` yields them, and architectures that have all weights.

        A single one of these is the relaxed network.
        """
        self._n_way, self.any_n_way, self._of_genotype = n_way, classifier == "shared", of_genotype
        self.relaxed = covering[0] if len(covering) == 1 else None
        # Cached: an inner loop passes through the same network many times.
        self._steps = lru_cache(maxsize=1 << 8)(
            lambda arch: [
                (layer, name if layer.op == MIX else name and prefix + name)
                for prefix, part in parts(arch)
                for layer, name in zip(part.layers, part.names, strict=True)
            ]
        )
        shapes: dict[str, tuple[int, ...]] = {}
        for arch in covering:
            for layer, name in self._steps(arch):
                shapes |= _shapes(layer, name) if name else {}
        if self.any_n_way:
            shapes |= {name: (1, *shapes[name][1:]) for name in HEAD}
        self._shapes = dict(sorted(shapes.items()))

    @property
    def roles(self) -> Mapping[str, Role]:
        return {name: "arch" if name in ARCH else "norm" if _is_norm(name) else "weight" for name in self._shapes}

    def init(self, generator: torch.Generator) -> Params:
        """Draw as MAML++'s code does: Xavier-uniform weights, biases 0, gamma 1 and beta 0.

        A vector that all classes share starts at 0: whatever it is, a softmax does not see it.
        """
        params = {}
        for name, shape in self._shapes.items():
            if name in ARCH:
                params[name] = SPREAD * torch.randn(shape, generator=generator)
            elif len(shape) == 1 or (name in HEAD and self.any_n_way):
                params[name] = torch.ones(shape) if _is_norm(name) and name.endswith("weight") else torch.zeros(shape)
            else:
                window = math.prod(shape[2:])
                outputs = 1 if name.partition("depthwise")[1] else shape[0]  # of one group
                bound = math.sqrt(6 / (window * (shape[1] + outputs)))
                params[name] = torch.empty(shape).uniform_(-bound, bound, generator=generator)
        return params

    def head(self, arch: Architecture) -> tuple[str, str]:
        return HEAD

    def share(self, params: Params, arch: Architecture) -> Params:
        shared = {part: params[part] for layer, name in self._steps(arch) if name for part in _shapes(layer, name)}
        if self.any_n_way:
            weight, bias = (params[name] for name in HEAD)
            shared[HEAD[0]] = weight.expand(*weight.shape[:-2], self._n_way, weight.shape[-1])
            shared[HEAD[1]] = bias.expand(*bias.shape[:-1], self._n_way)
        return shared

    def decode(self, adapted: Params) -> list[Proposal]:
        shares = [adapted[name].softmax(-1).tolist() for name in ARCH]
        return [self._decoded(*task) for task in zip(*shares, strict=True)]

    def _decoded(self, *kinds: list[list[float]]) -> Proposal:
        cells, weights = list[list[Edge]](), list[tuple[float, ...]]()
        for rows in kinds:
            cells.append([])
            for node in NODES:
                edges = [row[: len(OPERATIONS)] for row in rows[first_edge(node) : first_edge(node + 1)]]
                kept = sorted(sorted(range(node), key=lambda read: -max(edges[read]))[:2])
                cells[-1] += [(OPERATIONS[edges[read].index(max(edges[read]))], read) for read in kept]
                weights += [()] * (node > NODES[0]) + [tuple(edges[read]) for read in kept]
        arch = self._of_genotype(Genotype(normal=tuple(cells[0]), reduce=tuple(cells[1])))
        return Proposal(arch=arch, weights=tuple(weights))

    def prices(self, cost: Callable[[Layer], float]) -> Params:
        if self.relaxed is None:
            return super().prices(cost)
        found = {name: torch.zeros(self._shapes[name]) for name in ARCH}
        begun, steps = 0, self._steps(self.relaxed)
        for i, (layer, name) in enumerate(steps):
            if name.endswith(".in1_norm"):  # the first edge's layers follow
                begun = i + 1
            if layer.op != MIX:
                continue
            first = first_edge(node := len(layer.reads) // len(OPERATIONS))
            spent = list[float]()
            for place in layer.reads:  # the layers of each operation in turn; a skip may have none
                end = max(begun, i - place + 1)
                spent.append(sum(cost(other) for other, _ in steps[begun:end]))
                begun = end
            found[name][first : first + node, : len(OPERATIONS)] += torch.tensor(spent).view(node, -1)
            begun = i + 1
        return found

    def forward(self, shared: Params, x: Tensor, arch: Architecture, *, stats: NormStats | None = None) -> Tensor:
        values = [x]
        for layer, name in self._steps(arch):
            values.append(_run(layer, name, [values[-place] for place in layer.reads], shared, stats))
        return values[-1]


def first_edge(node: int) -> int:
    """Return the row of a node's first edge: those before it have as many edges as values before them."""
    return sum(range(NODES[0], node))


def _shapes(layer: Layer, name: str) -> dict[str, tuple[int, ...]]:
    """Return the names and shapes of a layer's weights."""
    channels = layer.out_shape[0]
    if layer.op == MIX:
        return {name: (first_edge(NODES[-1] + 1), len(MIXED))}
    if layer.op == "norm":
        return {f"{name}.weight": (channels,), f"{name}.bias": (channels,)}
    taken = layer.in_shape[0] // layer.groups
    if layer.op == "linear":
        return {f"{name}.weight": (channels, taken), f"{name}.bias": (channels,)}
    return {f"{name}.weight": (channels, taken, layer.kernel, layer.kernel)}


def _is_norm(name: str) -> bool:
    return name.rpartition(".")[0].endswith("_norm")


def _run(layer: Layer, name: str, read: Sequence[Tensor], shared: Params, stats: NormStats | None) -> Tensor:
    """Return the output of a layer for the values that it reads."""
    x = read[0]
    match layer.op:
        case "conv2d":
            return _convolve(x, shared[f"{name}.weight"], layer, name.endswith(SHIFTED))
        case "norm":
            return normalise(x, shared, name, stats)
        case "relu":
            return F.relu(x)
        case "max_pool":
            return F.max_pool2d(x, layer.kernel, layer.stride, layer.padding)
        case "avg_pool" if layer.kernel == 1:
            return x.mean((2, 3))
        case "avg_pool":
            return F.avg_pool2d(x, layer.kernel, layer.stride, layer.padding)
        case "add":
            return read[0] + read[1]
        case "mix":
            first = first_edge(node := len(read) // len(OPERATIONS))
            rows = shared[name][first : first + node].softmax(-1)[:, : len(OPERATIONS)].flatten()
            return sum((share * value for share, value in zip(rows[1:], read[1:], strict=True)), rows[0] * x)
        case "concat":
            return torch.cat(list(read), 1)
        case _:
            return F.linear(x, shared[f"{name}.weight"], shared[f"{name}.bias"])


def _convolve(x: Tensor, weight: Tensor, layer: Layer, shifted: bool) -> Tensor:
    """Convolve. A 1×1 kernel gets just the pixels that it sees, as `hnas_plugins.spaces.blocks.plain` explains."""
    if layer.kernel > 1:
        return F.conv2d(x, weight, None, layer.stride, layer.padding, layer.dilation, layer.groups)
    if shifted:
        x = F.pad(x, (0, 1, 0, 1))[..., 1:, 1:]
    return F.conv2d(x[..., :: layer.stride, :: layer.stride], weight)
