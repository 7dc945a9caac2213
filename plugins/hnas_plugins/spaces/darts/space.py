"""The space of DARTS: a normal and a reduction cell, of which a network is stacked."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations
from typing import TYPE_CHECKING, Any

from attrs import evolve

from hnas import Architecture, Choice, Layer, SearchSpace
from hnas.layer import Shape
from hnas_plugins.spaces.blocks.conv_layers import check_task
from hnas_plugins.spaces.darts import cells
from hnas_plugins.spaces.darts.genotype import NODES, OPERATIONS, Cell, Genotype
from hnas_plugins.spaces.darts.options import DartsOptions

if TYPE_CHECKING:
    from hnas_plugins.spaces.darts.supernet import DartsSuperNet

KINDS = ("normal", "reduce")
REFERENCES = {
    "darts-v2": "Genotype(normal=[('sep_conv_3x3', 0), ('sep_conv_3x3', 1), ('sep_conv_3x3', 0), ('sep_conv_3x3', 1), "
    "('sep_conv_3x3', 1), ('skip_connect', 0), ('skip_connect', 0), ('dil_conv_3x3', 2)], normal_concat=[2, 3, 4, 5], "
    "reduce=[('max_pool_3x3', 0), ('max_pool_3x3', 1), ('skip_connect', 2), ('max_pool_3x3', 1), ('max_pool_3x3', 0), "
    "('skip_connect', 2), ('skip_connect', 2), ('max_pool_3x3', 1)], reduce_concat=[2, 3, 4, 5])",
    "darts-v1": "Genotype(normal=[('sep_conv_3x3', 1), ('sep_conv_3x3', 0), ('skip_connect', 0), ('sep_conv_3x3', 1), "
    "('skip_connect', 0), ('sep_conv_3x3', 1), ('sep_conv_3x3', 0), ('skip_connect', 2)], normal_concat=[2, 3, 4, 5], "
    "reduce=[('max_pool_3x3', 0), ('max_pool_3x3', 1), ('skip_connect', 2), ('max_pool_3x3', 0), ('max_pool_3x3', 0), "
    "('skip_connect', 2), ('skip_connect', 2), ('avg_pool_3x3', 0)], reduce_concat=[2, 3, 4, 5])",
}
"""What the paper found with its second-order and its first-order approximation (figures 4 and 5, and its code)."""
RELAXED = Architecture("darts", ())
"""Stands for the mixture of all operations on all edges."""
LARGE = 128
"""Pixels from which a reference network is the one for ImageNet."""


class Darts(SearchSpace):
    """Stacked cells of DARTS (Liu, Simonyan and Yang, ICLR 2019, arXiv:1806.09055).

    A cell's two inputs, the outputs of the two cells before it, pass through 1×1 convolutions. Each of its four nodes
    adds up two operations, each on another input or earlier node; all nodes are joined. Cells after a third and two
    thirds of the network are reductions: there operations on inputs have stride 2, and channels double.

    The choices, for each kind of cell and the nodes 2 to 5: what a node reads (``normal_from3``: ``0+2``), and the two
    operations in that order (``normal3_1``, ``normal3_2``); node 2 reads both inputs. They are the paper's 10^18
    networks: ``none``, the eighth operation, is part of DARTS's mixture, but of no cell that it ends with.

    An average pooling counts zeros beyond the edge, as `hnas.Layer` has it; in the code of DARTS it does not.
    """

    name = "darts"

    def __init__(self, options: DartsOptions | None = None) -> None:
        self.settings = options or DartsOptions()
        choices: list[Choice] = []
        for kind in KINDS:
            for node in NODES:
                if node > NODES[0]:
                    pairs = tuple(f"{a}+{b}" for a, b in combinations(range(node), 2))
                    choices.append(Choice(name=f"{kind}_from{node}", options=pairs))
                choices += [Choice(name=f"{kind}{node}_{i}", options=OPERATIONS) for i in (1, 2)]
        self._choices = tuple(choices)
        third = self.settings.cells // 3, 2 * self.settings.cells // 3
        self.reductions = tuple(k in third for k in range(self.settings.cells))

    @property
    def choices(self) -> Sequence[Choice]:
        return self._choices

    def genotype(self, arch: Architecture) -> Genotype:
        """Return the cells of ``arch``."""
        picked = iter(c.options[g] for c, g in zip(self._choices, arch.genes, strict=True))
        found: dict[str, Cell] = {}
        for kind in KINDS:
            edges = []
            for node in NODES:
                read = str(next(picked)) if node > NODES[0] else "0+1"
                edges += [(str(next(picked)), int(value)) for value in read.split("+")]
            found[kind] = tuple(edges)
        return Genotype(normal=found["normal"], reduce=found["reduce"])

    def of_genotype(self, genotype: Genotype) -> Architecture:
        """Return the architecture of these cells."""
        picked: dict[str, str] = {}
        for kind in KINDS:
            edges: Cell = getattr(genotype, kind)
            for n, node in enumerate(NODES):
                (first, a), (second, b) = edges[2 * n : 2 * n + 2]
                picked |= {f"{kind}_from{node}": f"{a}+{b}"} if node > NODES[0] else {}
                picked |= {f"{kind}{node}_1": first, f"{kind}{node}_2": second}
        return self.architecture(**picked)

    def parts(self, arch: Architecture, input_shape: Shape, n_way: int) -> Iterator[tuple[str, cells.Part]]:
        """Yield the parts of ``arch``, or of `RELAXED`, in turn, each with what the names of its weights begin with.

        Raises `ConfigError` if a size is not positive; no input is too small, since maps are halved with rounding up.
        """
        check_task(self.name, input_shape, n_way)
        genotype = None if arch == RELAXED else self.genotype(arch)
        channels, halves = self.settings.channels, self.settings.stem == "imagenet"
        part, back = cells.stem(self.settings.stem, input_shape, channels)
        yield "", part
        last, before = part.layers[-1].out_shape, part.layers[back - 1].out_shape
        for k, reduces in enumerate(self.reductions):
            channels *= 1 + reduces
            edges = genotype and (genotype.reduce if reduces else genotype.normal)
            part = cells.cell(edges, (before, last), back, channels, reduces, halves)
            yield f"cell{k}.", part
            before, last, back, halves = last, part.layers[-1].out_shape, -len(part.layers), reduces
        yield "", cells.head(last, n_way)

    def layers(self, arch: Architecture, input_shape: Shape, n_way: int) -> Sequence[Layer]:
        """Return the layers of ``arch``; convolutions have no bias, as in the paper's numbers of parameters."""
        return [layer for _, part in self.parts(arch, input_shape, n_way) for layer in part.layers]

    def distinct_layers(self, input_shape: Shape, n_way: int) -> list[Layer]:
        """Return every layer that some architecture has: each operation occurs on every edge of `covering` ones."""
        made = (self.layers(arch, input_shape, n_way) for arch in self.covering())
        return sorted({evolve(layer, reads=()) for layers in made for layer in layers})

    def supernet(self, input_shape: Shape, n_way: int) -> DartsSuperNet:
        from hnas_plugins.spaces.darts.supernet import DartsSuperNet  # it imports torch

        check_task(self.name, input_shape, n_way)
        return DartsSuperNet(
            lambda arch: self.parts(arch, input_shape, n_way),
            [RELAXED] if self.settings.mixed else self.covering(),
            n_way,
            classifier=self.settings.classifier,
            of_genotype=self.of_genotype,
        )

    def references(self) -> Mapping[str, Architecture]:
        """Return the cells of the paper, and before them those of the option ``genotype``."""
        given = {"genotype": self.settings.genotype} if self.settings.genotype else {}
        return {name: self.of_genotype(Genotype.parse(text)) for name, text in (given | REFERENCES).items()}

    def reference_options(self, name: str, input_shape: Shape, n_way: int) -> dict[str, Any]:
        """Return the options of the networks whose sizes the paper has: for CIFAR-10, or for large images ImageNet."""
        if name not in REFERENCES:
            return {}
        large = input_shape[1] >= LARGE
        return {"cells": 14 if large else 20, "channels": 48 if large else 36, "stem": "imagenet" if large else "cifar"}

    def largest(self) -> Architecture:
        return self._uniform("sep_conv_5x5")

    def smallest(self) -> Architecture:
        """Return the network with the fewest parameters: to skip costs some in a reduction cell."""
        return self._uniform("skip_connect", "max_pool_3x3")

    def covering(self) -> list[Architecture]:
        """Return a few architectures that have between them every operation on every edge."""
        return [self._uniform(op, first=n) for op in OPERATIONS for n in range(0, max(NODES), 2)]

    def _uniform(self, normal: str, reduce: str | None = None, first: int = 0) -> Architecture:
        """Return the network with one operation in a kind of cell, whose nodes read ``first`` and the one after it."""

        def edges(op: str) -> Cell:
            return tuple((op, min(first, node - 2) + n) for node in NODES for n in (0, 1))

        return self.of_genotype(Genotype(normal=edges(normal), reduce=edges(reduce or normal)))
