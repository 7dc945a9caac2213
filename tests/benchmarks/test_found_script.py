"""The comparison of a found network with the reference network: its interval, by hand."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest


def test_the_interval_is_students_over_the_paired_seeds(benchmark_module: Callable[[str], Any]) -> None:
    """Gains of 1, 2 and 3 points: mean 2, standard deviation 1; t = 4.303 for three seeds (two degrees of freedom)."""
    found = benchmark_module("found").difference([81.0, 83.0, 82.0], [80.0, 81.0, 79.0])
    assert found == {"difference": 2.0, "half_width": pytest.approx(4.303 / 3**0.5, abs=0.005)}
