"""Scoring in part: candidates that cannot be among the best any more are scored on no further task.

Losses are not negative, so the sum over some of the tasks is a lower bound of the sum over all. A candidate whose sum
so far exceeds the k-th best complete sum is therefore not among the k best, whatever its losses on the other tasks. So
the best k, and their scores, are those of a full evaluation.
"""

from __future__ import annotations

import math
from collections.abc import Generator, Mapping, Sequence
from typing import NamedTuple, TypeVar

from hnas.architecture import Architecture

T = TypeVar("T")


class TaskScore(NamedTuple):
    """An adapted network's loss (nats) and accuracy (0-1) on one task."""

    loss: float
    accuracy: float


Wanted = Mapping[Architecture, Sequence[int]]
"""Architectures, and the tasks that each is still to be scored on."""
Found = Mapping[Architecture, Mapping[int, TaskScore]]
"""At least the scores that were wanted."""
Scoring = Generator[Wanted, Found, T]
"""Yields the tasks to score on, is sent the scores, and returns its result. So several can go on together."""


def truncated(
    architectures: Sequence[Architecture], tasks: Sequence[int], keep: int | None, *, few: int
) -> Scoring[dict[Architecture, dict[int, TaskScore]]]:
    """Return each architecture's scores by task; at least the best ``keep`` are scored on all (`None`: all are).

    First all are scored on ``few`` tasks, and the leaders on all tasks, which gives a threshold. Then all that are
    still below it go on, ``few`` tasks at a time and the hardest first; the most promising are scored to the end, to
    lower it. The order depends on the scores alone, so neither workers nor remembered scores change the outcome.
    (Simulated, with 10 of 100 to keep and 2 tasks at a time: within 15 % of the least that suffices.)
    """
    found: dict[Architecture, dict[int, TaskScore]] = {a: {} for a in architectures}

    def score(wanted: Wanted) -> Scoring[None]:
        if wanted := {a: ts for a, ts in wanted.items() if ts}:
            scores = yield wanted
            for arch, ts in wanted.items():
                found[arch].update({t: scores[arch][t] for t in ts})

    def total(arch: Architecture) -> float:
        return math.fsum(s.loss for s in found[arch].values())  # rounded once: a part never exceeds the whole

    def missing(arch: Architecture) -> list[int]:
        return [t for t in order if t not in found[arch]]

    order = list(tasks)
    if keep is None or keep >= len(architectures):
        yield from score(dict.fromkeys(architectures, order))
        return found
    yield from score(dict.fromkeys(architectures, order[:few]))
    leaders = sorted(architectures, key=total)[:keep]
    yield from score({a: missing(a) for a in leaders})
    order.sort(key=lambda t: -math.fsum(found[a][t].loss for a in leaders))
    while True:
        threshold = sorted(total(a) for a in architectures if not missing(a))[keep - 1]
        contenders = sorted((a for a in architectures if missing(a) and total(a) <= threshold), key=total)
        if not contenders:
            return found
        promising = contenders[: max(1, keep // 2)]
        yield from score({a: missing(a)[: None if a in promising else few] for a in contenders})
