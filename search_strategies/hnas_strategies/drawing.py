"""Batches of random architectures."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable

from hnas import Architecture, SearchProblem

TRIES = 50
"""Samples drawn for a place before it stays empty."""


def filled(
    problem: SearchProblem, given: Iterable[Architecture], population: int, seen: Collection[Architecture]
) -> list[Architecture]:
    """Return ``given`` and, for this search's share of the other places, feasible samples not ``seen``; none twice.

    It is shorter if no further architecture is found.
    """
    pool = dict.fromkeys(given)
    size = len(pool) + math.ceil(problem.share * (population - len(pool)))
    tries = TRIES
    while len(pool) < size and tries:
        new = problem.sample_feasible(problem.generator)
        tries = TRIES if (fresh := new not in pool and new not in seen) else tries - 1
        pool |= {new: None} if fresh else {}
    return list(pool)
