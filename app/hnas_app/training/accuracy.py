"""Accuracy over test tasks, with its confidence interval."""

from __future__ import annotations

import math
from collections.abc import Sequence

from attrs import frozen

# Abramowitz and Stegun, Handbook of Mathematical Functions, table 26.10: two-sided 95 %, by the degrees of freedom.
_T_95 = (12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228)
_NORMAL_95 = 1.959963984540054


def t_95(n: int) -> float:
    """Return Student's t for a two-sided 95 % interval of the mean of ``n`` values, at least two."""
    if n < 2:
        raise ValueError(f"t_95: {n} values have no interval; at least 2 are needed")
    if n - 1 <= len(_T_95):
        return _T_95[n - 2]
    free, x = float(n - 1), _NORMAL_95
    # The same book, 26.7.5; above ten degrees of freedom it is exact to 3e-6.
    terms = (
        (x**3 + x) / 4,
        (5 * x**5 + 16 * x**3 + 3 * x) / 96,
        (3 * x**7 + 19 * x**5 + 17 * x**3 - 15 * x) / 384,
        (79 * x**9 + 776 * x**7 + 1482 * x**5 - 1920 * x**3 - 945 * x) / 92160,
    )
    return x + sum(term / free**power for power, term in enumerate(terms, 1))


def interval_over(tasks: int) -> str:
    """Return the words that explain the figure behind ± in the protocol of a test."""
    return "mean ± 95 % confidence interval over tasks" if tasks > 1 else "one task, so no confidence interval"


@frozen(kw_only=True)
class Accuracy:
    """Mean accuracy (0-1) over test tasks, and half the width of its 95 % confidence interval over tasks."""

    mean: float
    half_width: float | None
    """By Student's t; ``None`` for a single task."""
    tasks: int

    @property
    def lower(self) -> float | None:
        """The lower bound of the interval; ``None`` for a single task."""
        return None if self.half_width is None else self.mean - self.half_width

    def __str__(self) -> str:
        mean = f"{100 * self.mean:.2f}"
        if self.half_width is None or self.tasks < 2:  # earlier versions recorded 0 for a single task
            return f"{mean} % (one task, no interval)"
        return f"{mean} ± {100 * self.half_width:.2f} %"

    @classmethod
    def over(cls, accuracies: Sequence[float]) -> Accuracy:
        """Summarise one accuracy per task."""
        n = len(accuracies)
        mean = sum(accuracies) / n
        if n < 2:
            return cls(mean=mean, half_width=None, tasks=n)
        variance = sum((a - mean) ** 2 for a in accuracies) / (n - 1)
        return cls(mean=mean, half_width=t_95(n) * math.sqrt(variance / n), tasks=n)
