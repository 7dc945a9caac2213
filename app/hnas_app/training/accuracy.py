"""Accuracy over test tasks, with its confidence interval."""

from __future__ import annotations

import math
from collections.abc import Sequence

from attrs import frozen


@frozen(kw_only=True)
class Accuracy:
    """Mean accuracy (0-1) over test tasks, and half the width of its 95 % confidence interval (normal, over tasks)."""

    mean: float
    half_width: float
    tasks: int

    @property
    def lower(self) -> float:
        """The lower bound of the interval."""
        return self.mean - self.half_width

    def __str__(self) -> str:
        return f"{100 * self.mean:.2f} ± {100 * self.half_width:.2f} %"

    @classmethod
    def over(cls, accuracies: Sequence[float]) -> Accuracy:
        """Summarise one accuracy per task."""
        n = len(accuracies)
        mean = sum(accuracies) / n
        variance = sum((a - mean) ** 2 for a in accuracies) / max(n - 1, 1)
        return cls(mean=mean, half_width=1.96 * math.sqrt(variance / n), tasks=n)
