"""The maps of one executor, of which one at a time may run."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from attrs import define


@define(eq=False)
class Turns:
    """Ends a map that was left early: when its iterator is closed, another map begins, or the executor closes.

    An iterator that was left may stay alive, as by a traceback, so its being closed is not enough.
    """

    drop: Callable[[], None]
    """Ends the work in flight, whose results nobody waits for any more."""
    _current: int = 0

    def take(self, results: Iterator[tuple[int, Any]]) -> Iterator[tuple[int, Any]]:
        """Yield the results of a map. Raises `RuntimeError` if it goes on after another has begun."""
        self.end()
        mine = self._current
        try:
            for result in results:
                yield result
                if self._current != mine:
                    raise RuntimeError("map_unordered went on after another map of this executor had begun")
        finally:
            if self._current == mine:
                self.drop()

    def end(self) -> None:
        """End the map that runs, if any does."""
        self._current += 1
        self.drop()
