"""Accuracy over tasks and its confidence interval, by hand."""

from __future__ import annotations

import math
from statistics import mean, stdev

import numpy as np
import pytest

from hnas.toolkit.codec import from_json, to_json
from hnas_app.training.accuracy import Accuracy, interval_over, t_95


def test_three_tasks_by_hand() -> None:
    """Mean 0.7, deviation 0.2: 4.303 · 0.2/√3. With the 1.96 of a normal distribution it would be 54 % too small."""
    found = Accuracy.over([0.5, 0.7, 0.9])
    assert found.mean == pytest.approx(0.7)
    assert found.half_width == pytest.approx(0.49687, abs=1e-5)
    assert found.lower == pytest.approx(0.20313, abs=1e-5)
    assert found.tasks == 3
    assert str(found) == "70.00 ± 49.69 %"


def test_six_hundred_tasks_are_as_the_statistics_module_says() -> None:
    accuracies = np.random.default_rng(0).uniform(0.6, 1, 600).tolist()
    found = Accuracy.over(accuracies)
    assert found.mean == pytest.approx(mean(accuracies))
    assert found.half_width == pytest.approx(1.9639322 * stdev(accuracies) / math.sqrt(600))


def test_equal_tasks_have_no_width() -> None:
    assert Accuracy.over([1.0] * 4) == Accuracy(mean=1.0, half_width=0.0, tasks=4)


def test_one_task_has_no_interval() -> None:
    """It said ± 0.00 %, as if nothing could be more certain. Runs of then recorded 0."""
    found = Accuracy.over([0.432])
    assert found == Accuracy(mean=0.432, half_width=None, tasks=1)
    assert found.lower is None
    assert to_json(found)["half_width"] is None
    assert from_json(to_json(found), Accuracy, "the file") == found
    earlier = from_json({"mean": 0.432, "half_width": 0.0, "tasks": 1}, Accuracy, "the file")
    assert str(found) == str(earlier) == "43.20 % (one task, no interval)"
    assert "±" not in interval_over(1)
    with pytest.raises(ValueError, match="1 values have no interval"):
        t_95(1)


def test_students_t_is_that_of_scipy() -> None:
    """``scipy.stats.t.ppf(0.975, n - 1)`` of scipy 1.17.1."""
    known = {2: 12.7062047, 3: 4.3026527, 4: 3.1824463, 5: 2.7764451, 11: 2.2281389, 12: 2.2009852, 16: 2.1314495}
    known |= {21: 2.0859634, 31: 2.0422725, 41: 2.0210754, 100: 1.9842170, 600: 1.9639322, 10**6: 1.9599664}
    for n, expected in known.items():
        assert t_95(n) == pytest.approx(expected, rel=2e-4 if n <= 11 else 5e-6)
    widths = [t_95(n) for n in range(2, 700)]
    assert widths == sorted(widths, reverse=True)


@pytest.mark.parametrize("tasks", [2, 5, 14])
def test_the_interval_of_few_covers_the_truth_95_times_in_100(tasks: int) -> None:
    """Of 4,000 tests of normal accuracies; with 1.96 two tasks covered it 70 times in 100, and five 88 times."""
    tests = np.random.default_rng(tasks).normal(0.6, 0.1, size=(4000, tasks))
    covered = [abs(found.mean - 0.6) < (found.half_width or 0) for found in map(Accuracy.over, tests.tolist())]
    assert 0.94 < mean(covered) < 0.96


def test_the_interval_covers_the_truth_95_times_in_100() -> None:
    """Of 2,000 tests with 600 tasks each: 95 % ± 2, which a factor of 1 or of 2.58 misses."""
    generator = np.random.default_rng(1)
    tests = generator.binomial(75, 0.8, size=(2000, 600)) / 75
    covered = [abs(found.mean - 0.8) < (found.half_width or 0) for found in map(Accuracy.over, tests.tolist())]
    assert 0.93 < mean(covered) < 0.97
