"""Fronts of two costs: which points no other beats in both, and how much of the plane they cover."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

Point = tuple[float, float]
"""Two numbers of which less is better: a network's cost on a device, and its loss or its error."""

MARGIN = 1.1
"""How far beyond the costliest network the reference point lies, so that it still counts."""


def nondominated(points: Sequence[Point]) -> list[int]:
    """Return the indices of the points that no other beats, by the first number ascending.

    A point is beaten by one that is as good in both numbers and better in one. Of equal points the first is kept; a
    point with a number that is not finite is on no front.
    """
    finite = [i for i, point in enumerate(points) if all(map(math.isfinite, point))]
    front: list[int] = []
    for i in sorted(finite, key=lambda i: (points[i], i)):
        if not front or points[i][1] < points[front[-1]][1]:
            front.append(i)
    return front


def hypervolume(points: Sequence[Point], reference: Point) -> float:
    """Return the area that the points dominate, up to ``reference``: exact, by strips from left to right.

    That is the hypervolume of Zitzler and Thiele (1999) for two numbers. A point that is not below the reference in
    both adds nothing.
    """
    inside = [p for p in points if p[0] < reference[0] and p[1] < reference[1]]
    front = [inside[i] for i in nondominated(inside)]
    ends = [x for x, _ in (*front[1:], reference)]
    return math.fsum((end - x) * (reference[1] - y) for (x, y), end in zip(front, ends, strict=False))


def reference_point(costs: Iterable[float], n_way: int, *, error: bool = False) -> Point:
    """Return the reference point of all compared fronts: the result of guessing, at more than the highest cost.

    ``costs`` are those of all networks on any of the fronts, the reference networks among them; the point is a tenth
    beyond, or else the costliest would count for nothing. Guessing is a loss of ln(n_way), or an error of 1 - 1/n_way:
    a network that does no better is worth nothing at any cost. Volumes compare only under one reference point.
    """
    return MARGIN * max(costs), 1 - 1 / n_way if error else math.log(n_way)
