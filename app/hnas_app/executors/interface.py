"""The interface Executor: functions over items, on values that are sent to the workers once."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from torch import Tensor

Work = Callable[[Mapping[str, Any], Any], Any]
"""A module-level function of (values that were put, item). It must change neither."""


class Executor(ABC):
    """Runs functions over items, on values that are sent to the workers once.

    Random numbers are seeded by the item or by a value, never by the worker, and the process that maps writes all
    results. So results do not depend on where the work runs. Only a `map_sum` of floats depends on how the work was cut
    into items, unless all its sums are exact.
    """

    size: int
    """How many items run at the same time."""
    leads: bool = True
    """Whether this process writes the results. One rank of a `RankGroup` does."""

    @abstractmethod
    def put(self, **values: Any) -> None:
        """Hand every worker these values, replacing earlier ones of the same names.

        A value that is the same object as before is not sent again, so it must not have changed. While a worker process
        waits for work, it calls the method ``prepare()`` of those values that have one, until it returns false.
        """

    @abstractmethod
    def map_unordered(self, work: Work, items: Sequence[Any]) -> Iterator[tuple[int, Any]]:
        """Yield (index, result) for each item, as they finish. An exception in ``work`` is raised here.

        Items begin in their order. If they have a number ``place``, a worker process begins with one from about the
        same place each time, for which a value may have prepared.
        """

    @abstractmethod
    def close(self) -> None:
        """End the workers."""

    def map(self, work: Work, items: Sequence[Any]) -> list[Any]:
        """Return the results in the order of the items."""
        results = dict(self.map_unordered(work, items))
        return [results[i] for i in range(len(items))]

    def map_sum(self, work: Work, items: Sequence[Any]) -> tuple[dict[str, Any], list[Any]]:
        """Add up the arrays that ``work`` returns by name; return the sums, and the rest of each item in order.

        ``work`` returns (arrays by name, the rest, which JSON can hold). A name that an item lacks counts as zero.
        """
        import numpy as np

        sums: dict[str, Any] = {}
        rests = []
        for arrays, rest in self.map(work, items):
            rests.append(rest)
            for name, value in arrays.items():
                sums[name] = np.asarray(sums[name] + value) if name in sums else value
        return sums, rests

    def from_leader(
        self, tensors: dict[str, Tensor], told: Mapping[str, Any]
    ) -> tuple[dict[str, Tensor], Mapping[str, Any]]:
        """Return the arguments of the process that `leads`. ``told`` is anything that JSON can hold."""
        return tensors, told

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()
