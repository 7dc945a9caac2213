"""The certainty of the choice of a network: its place among the finalists, with an interval."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from attrs import frozen

if TYPE_CHECKING:
    import numpy as np

RESAMPLES = 2000


@frozen(kw_only=True)
class Place:
    """The chosen network's place by loss on other tasks (1 is the best): a 95 % interval."""

    low: int
    high: int
    of: int
    """How many networks were compared."""
    tasks: int

    def __str__(self) -> str:
        span = str(self.low) if self.low == self.high else f"{self.low} to {self.high}"
        return f"place {span} of {self.of} (95 % interval over {self.tasks} tasks)"


def place_of_first(losses: Sequence[Sequence[float]], generator: np.random.Generator) -> Place | None:
    """Return the place of the first network by a bootstrap over tasks; ``losses`` are (networks, tasks).

    One task has no interval: returns ``None``. All networks are compared on the same drawn tasks, as they were chosen.
    One that has an infinite loss is last.
    """
    import numpy as np

    table = np.asarray(losses, dtype=float)
    n_networks, n_tasks = table.shape
    if n_tasks < 2:
        return None
    if not np.isfinite(table[0]).all():
        return Place(low=1, high=n_networks, of=n_networks, tasks=n_tasks)
    finite = table[np.isfinite(table).all(1)]
    draws = generator.multinomial(n_tasks, np.full(n_tasks, 1 / n_tasks), RESAMPLES)
    sums = finite @ draws.T  # (networks, resamples)
    places = 1 + (sums < sums[0]).sum(0)
    low, high = np.quantile(places, [0.025, 0.975], method="inverted_cdf")
    return Place(low=int(low), high=int(high), of=n_networks, tasks=n_tasks)
