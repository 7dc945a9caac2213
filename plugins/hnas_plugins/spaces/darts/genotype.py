"""Genotypes: a normal and a reduction cell, as the DARTS authors' code writes them."""

from __future__ import annotations

import ast
from collections.abc import Sequence
from typing import Any

from attrs import frozen

from hnas import ConfigError
from hnas.errors import close_matches, short

NONE = "none"
"""No edge at all: an option of the mixture that DARTS trains, and of no genotype."""
OPERATIONS = (
    "max_pool_3x3",
    "avg_pool_3x3",
    "skip_connect",
    "sep_conv_3x3",
    "sep_conv_5x5",
    "dil_conv_3x3",
    "dil_conv_5x5",
)
"""With `NONE` the eight of the paper (section 3.1)."""
MIXED = (*OPERATIONS, NONE)
"""The operations of an edge of the mixture, in the order of their architecture weights."""
NODES = (2, 3, 4, 5)
"""The numbers of a cell's own nodes; 0 and 1 are its inputs, the outputs of the two cells before it."""
EXAMPLE = "Genotype(normal=[('sep_conv_3x3', 0), ('skip_connect', 1), …], normal_concat=[2, 3, 4, 5], reduce=…)"

Edge = tuple[str, int]
"""An operation, and the number of the input or node that it reads."""
Cell = tuple[Edge, ...]
"""Two edges for each node in turn, each pair in the order of what it reads."""


@frozen(kw_only=True)
class Genotype:
    """The two kinds of cells that a network is stacked of. Raises `ConfigError` for cells that cannot be."""

    normal: Cell
    reduce: Cell

    def __attrs_post_init__(self) -> None:
        for kind in ("normal", "reduce"):
            object.__setattr__(self, kind, _checked(kind, getattr(self, kind)))

    @classmethod
    def parse(cls, text: str) -> Genotype:
        """Read a genotype as DARTS prints it; nothing in it is run. Raises `ConfigError`, naming what is wrong."""
        try:
            call = ast.parse(text.strip(), mode="eval").body
            if not isinstance(call, ast.Call) or call.args or getattr(call.func, "id", "") != "Genotype":
                raise ValueError("it is no call of Genotype with named parts")
            parts = {str(k.arg): _value(k.value) for k in call.keywords}
            if set(parts) != {"normal", "normal_concat", "reduce", "reduce_concat"}:
                raise ValueError(f"its parts are {', '.join(parts) or 'none'}")
        except (SyntaxError, ValueError, RecursionError, MemoryError) as cause:
            told = f"the genotype {short(text)} does not parse: {getattr(cause, 'msg', cause)}"
            raise ConfigError(told, hint=f"write it as the code of DARTS prints it: {EXAMPLE}") from cause
        for kind in ("normal", "reduce"):
            if parts[f"{kind}_concat"] != list(NODES):
                told = f"its {kind} cell joins {short(parts[f'{kind}_concat'])}, expected {list(NODES)}"
                raise ConfigError(f"the genotype is of no DARTS cell: {told}", hint="every node is part of the output")
        return cls(normal=parts["normal"], reduce=parts["reduce"])

    def __str__(self) -> str:
        parts = ((kind, list(getattr(self, kind))) for kind in ("normal", "reduce"))
        return f"Genotype({', '.join(f'{kind}={edges}, {kind}_concat={list(NODES)}' for kind, edges in parts)})"


def _value(node: ast.expr) -> Any:
    """Return a literal; ``range(2, 6)``, which DARTS prints, as a list that ends where it is too long."""
    try:
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "range" and not node.keywords:
            return list(range(*map(ast.literal_eval, node.args))[: len(NODES) + 1])
        return ast.literal_eval(node)
    except (TypeError, ValueError) as cause:
        raise ValueError("its parts are not lists of operations and numbers") from cause


def _checked(kind: str, edges: Any) -> Cell:
    """Return a cell with each node's edges in order. Raises `ConfigError` for one that is none."""
    if not isinstance(edges, Sequence) or isinstance(edges, str):
        raise _wrong(kind, f"it is {short(edges)}", f"a list of {2 * len(NODES)} edges")
    if len(edges) != 2 * len(NODES):
        told, short_of = f"it has {len(edges)} edges", len(edges) < 2 * len(NODES)
        told += f", so that node {NODES[len(edges) // 2]} is without an input" if short_of else ""
        raise _wrong(kind, told, f"two for each of the nodes {', '.join(map(str, NODES))}")
    found: list[Edge] = []
    for n, edge in enumerate(edges):
        node = NODES[n // 2]
        if not (isinstance(edge, tuple | list) and len(edge) == 2 and type(edge[1]) is int):
            raise _wrong(kind, f"edge {n + 1} is {short(edge)}", "an operation and the number that it reads")
        op, read = edge
        where = f"edge {n + 1}, ({short(op)}, {read})"
        if op == NONE:
            raise _wrong(kind, f"{where}, leaves node {node} without this input", f"one of {', '.join(OPERATIONS)}")
        if op not in OPERATIONS:
            raise _wrong(
                kind, f"{where}: unknown operation.{close_matches(str(op), OPERATIONS)}", ", ".join(OPERATIONS)
            )
        if not 0 <= read < node:
            told = "itself" if read == node else f"{read}, which is not before it"
            raise _wrong(kind, f"{where}: node {node} reads {told}", f"a number from 0 to {node - 1}")
        found.append((op, read))
    for n, node in enumerate(NODES):
        pair = sorted(found[2 * n : 2 * n + 2], key=lambda edge: edge[1])
        if pair[0][1] == pair[1][1]:
            raise _wrong(kind, f"node {node} reads {pair[0][1]} twice", "two different numbers")
        found[2 * n : 2 * n + 2] = pair
    return tuple(found)


def _wrong(kind: str, told: str, expected: str) -> ConfigError:
    return ConfigError(f"the genotype's {kind} cell is none: {told}", hint=f"expected {expected}")
