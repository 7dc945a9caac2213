"""Which candidates become finalists of a search, and which of those race.

A population ends with networks that differ in activations only. Scores with super-net weights favour some activations
of them that a re-training does not bear out: docs/results.md has numbers. So finalists differ in size,
and each is there with the reference network's activations, too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import zip_longest
from typing import TypeVar

from hnas.architecture import Architecture
from hnas.cost import MACS, PARAMS, Cost
from hnas.space import SearchSpace
from hnas.strategy import Scored
from hnas_app.training.race import FOUND

T = TypeVar("T")
Size = tuple[float, float]
"""Parameters and multiply-accumulates."""


def size(cost: Cost) -> Size:
    """Return the size of a network. Those of one size differ in activations, or in little else."""
    return cost[PARAMS.name], cost[MACS.name]


def first_of_each(pairs: Iterable[tuple[Size, T]]) -> list[T]:
    """Return the first value of each size, in their order."""
    found: dict[Size, T] = {}
    for own, value in pairs:
        found.setdefault(own, value)
    return list(found.values())


def plain(
    space: SearchSpace,
    arch: Architecture,
    reference: Architecture,
    cost: Callable[[Architecture], Cost],
    feasible: Callable[[Architecture], bool],
) -> Architecture:
    """Return ``arch`` with the options of ``reference`` in every choice where that keeps its size and the limits."""
    own, wanted = size(cost(arch)), space.options(reference)
    for name in space.options(arch):
        if name in wanted:
            other = space.architecture(**{**space.options(arch), name: wanted[name]})
            if size(cost(other)) == own and feasible(other):
                arch = other
    return arch


def entrants(finalists: Sequence[Scored], count: int) -> dict[str, Architecture]:
    """Return ``count`` of the finalists by name, or all if there are fewer. The best is called `FOUND`.

    ``finalists`` are in the order of their scores. Those that race are in turn the best of a size and the second best
    of a size, each the first of these that is left: so they are of different sizes, and half of them in other
    activations than the super-net likes best.
    """
    best = first_of_each((size(scored.cost), scored.arch) for scored in finalists)
    second = first_of_each((size(s.cost), s.arch) for s in finalists if s.arch not in best)
    turns = [arch for pair in zip_longest(best, second) for arch in pair if arch is not None]
    names = [FOUND, *(f"finalist-{i}" for i in range(2, count + 1))]
    return dict(zip(names, dict.fromkeys([*turns, *(s.arch for s in finalists)]), strict=False))
