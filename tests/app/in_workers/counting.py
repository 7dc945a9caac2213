"""An executor that keeps what it was asked to adapt, and can be stopped in the middle of it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from hnas import Architecture
from hnas_app.executors.in_process import InProcess


class Counting(InProcess):
    """Keeps each (architecture, task) that it adapted; is interrupted after ``stop_at`` architectures."""

    def __init__(self, stop_at: int | None = None) -> None:
        super().__init__()
        self.ran, self.stop_at = list[tuple[Architecture, int]](), stop_at

    def map_unordered(self, work: Any, items: Any) -> Iterator[tuple[int, Any]]:
        for i, item in enumerate(items):
            if self.stop_at is not None:
                if self.stop_at == 0:
                    raise KeyboardInterrupt
                self.stop_at -= 1
            ((_, result),) = super().map_unordered(work, [item])
            self.ran += [(item[0], t) for t in item[1]]
            yield i, result
