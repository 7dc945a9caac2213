"""How much of a batch each of several searches proposes itself: the more the others help it, the less."""

from __future__ import annotations

from collections.abc import Sequence

from hnas.seeds import Seeds
from hnas.strategy import SearchProblem

SAMPLES = 64
"""Feasible architectures drawn for each search, to see for how many of them the others have use."""
SPARE = 2.0
"""How many times over the candidates that a search has use for fill its batch; docs/sweeps.md says why."""


def shares(problems: Sequence[SearchProblem], seeds: Seeds) -> list[float]:
    """Return which part of a batch each search needs to ask for itself: 1 for one that is alone.

    The more of the others' candidates it has use for, the less. Those of another search are of use where many of its
    feasible networks are feasible here, and the other way round: what fits into much tighter limits is feasible, but
    far from the best, and to tight limits hardly anything helps that was made for loose ones.
    """
    if len(problems) == 1:
        return [1.0]
    drawn = [
        [p.sample_feasible(generator) for _ in range(SAMPLES)]
        for p, generator in zip(problems, (seeds.numpy("sweep-share", i) for i in range(len(problems))), strict=True)
    ]
    fits = [[sum(map(p.feasible, archs)) / SAMPLES for archs in drawn] for p in problems]
    everyone = range(len(problems))
    return [min(1.0, SPARE / sum(min(fits[i][j], fits[j][i]) for j in everyone)) for i in everyone]
