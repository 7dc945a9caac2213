"""Accuracy over tasks and its confidence interval, by hand."""

from __future__ import annotations

import math
from statistics import mean, stdev

import numpy as np
import pytest

from hnas_app.training.accuracy import Accuracy


def test_three_tasks_by_hand() -> None:
    """Mean 0.7, deviation 0.2: 1.96 · 0.2/√3. With the n of a population it would be 18 % too small."""
    found = Accuracy.over([0.5, 0.7, 0.9])
    assert found.mean == pytest.approx(0.7)
    assert found.half_width == pytest.approx(0.22632, abs=1e-5)
    assert found.lower == pytest.approx(0.47368, abs=1e-5)
    assert found.tasks == 3
    assert str(found) == "70.00 ± 22.63 %"


def test_six_hundred_tasks_are_as_the_statistics_module_says() -> None:
    accuracies = np.random.default_rng(0).uniform(0.6, 1, 600).tolist()
    found = Accuracy.over(accuracies)
    assert found.mean == pytest.approx(mean(accuracies))
    assert found.half_width == pytest.approx(1.96 * stdev(accuracies) / math.sqrt(600))


def test_equal_or_single_tasks_have_no_width() -> None:
    assert Accuracy.over([0.25]) == Accuracy(mean=0.25, half_width=0.0, tasks=1)
    assert Accuracy.over([1.0] * 4) == Accuracy(mean=1.0, half_width=0.0, tasks=4)


def test_the_interval_covers_the_truth_95_times_in_100() -> None:
    """Of 2,000 tests with 600 tasks each: 95 % ± 2, which a factor of 1 or of 2.58 misses."""
    generator = np.random.default_rng(1)
    tests = generator.binomial(75, 0.8, size=(2000, 600)) / 75
    covered = [abs(found.mean - 0.8) < found.half_width for found in map(Accuracy.over, tests.tolist())]
    assert 0.93 < mean(covered) < 0.97
