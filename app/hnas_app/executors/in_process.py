"""Work in this process."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from hnas_app.executors.heap import settle_heap
from hnas_app.executors.interface import Executor, Work


class InProcess(Executor):
    """Runs everything here, one item after the other, on one intra-op thread as the workers do."""

    size = 1

    def __init__(self) -> None:
        import torch

        self._values: dict[str, Any] = {}
        self._threads = torch.get_num_threads()
        torch.set_num_threads(1)

    def put(self, **values: Any) -> None:
        self._values |= values

    def map_unordered(self, work: Work, items: Sequence[Any]) -> Iterator[tuple[int, Any]]:
        for i, item in enumerate(items):
            yield i, work(self._values, item)
            settle_heap()

    def close(self) -> None:
        import torch

        torch.set_num_threads(self._threads)
