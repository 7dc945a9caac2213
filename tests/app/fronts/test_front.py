"""Non-dominated points and hypervolume: against brute force, and against pymoo's."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hnas_app.fronts.dominance import Point, hypervolume, nondominated, reference_point

# Small whole numbers, so that ties and points on the reference's edges are common.
numbers = st.integers(0, 8).map(float)
clouds = st.lists(st.tuples(numbers, numbers), max_size=12)


def beats(a: Point, b: Point) -> bool:
    return a != b and a[0] <= b[0] and a[1] <= b[1]


@given(clouds)
def test_the_front_is_what_no_other_point_beats(points: list[Point]) -> None:
    found = nondominated(points)
    expected = {p for p in points if not any(beats(q, p) for q in points)}
    assert [points[i] for i in found] == sorted(expected)
    assert all(points.index(points[i]) == i for i in found)  # of equal points the first


@given(clouds, st.tuples(numbers, numbers))
def test_hypervolume_counts_the_unit_squares_that_some_point_dominates(points: list[Point], corner: Point) -> None:
    """Exact for whole numbers: a unit square is dominated as a whole or not at all."""
    squares = [(x, y) for x in range(int(corner[0])) for y in range(int(corner[1]))]
    expected = sum(any(p[0] <= x and p[1] <= y for p in points) for x, y in squares)
    assert hypervolume(points, corner) == expected


def test_hypervolume_is_pymoos(required_module: Callable[[str], Any]) -> None:
    indicator = required_module("pymoo.indicators.hv").HV
    generator = np.random.default_rng(0)
    for n in (1, 2, 30, 300):
        points = generator.random((n, 2)) * 1.2
        expected = float(indicator(ref_point=np.array([1.0, 1.1]))(points))
        assert hypervolume([(x, y) for x, y in points.tolist()], (1.0, 1.1)) == pytest.approx(expected, rel=1e-12)


def test_the_front_is_pymoos_first_rank(required_module: Callable[[str], Any]) -> None:
    sorting = required_module("pymoo.util.nds.non_dominated_sorting").NonDominatedSorting()
    points = np.random.default_rng(1).random((400, 2))
    expected = sorting.do(points, only_non_dominated_front=True)
    assert sorted(nondominated([(x, y) for x, y in points.tolist()])) == sorted(expected.tolist())


def test_a_diverged_network_is_on_no_front() -> None:
    """Its loss is infinite or no number; the cheapest of all, it would stand at the front's left end."""
    points = [(0.1, math.inf), (0.2, math.nan), (math.inf, 0.0), (1.0, 1.0)]
    assert nondominated(points) == [3]
    assert hypervolume(points, (2.0, 2.0)) == 1.0


def test_the_reference_point_is_guessing_beyond_the_costliest() -> None:
    cost, loss = reference_point([1.0, 10.0, 2.0], n_way=5)
    assert (cost, loss) == (pytest.approx(11.0), pytest.approx(math.log(5)))
    assert reference_point([1.0], n_way=5, error=True)[1] == pytest.approx(0.8)
    assert hypervolume([(10.0, 0.5)], (cost, loss)) > 0
    assert hypervolume([(1.0, 1.7)], (cost, loss)) == 0
