"""What executors with workers of their own keep account of: values, maps, and items whose workers died."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from attrs import define, field

from hnas.errors import HnasError

ATTEMPTS = 3
"""How often an item may kill its worker before it is given up."""

MEMORY_HINT = "it may need more memory than there is: lower the number of workers or of tasks"


def given_up(item: Any, how: str, hint: str) -> HnasError:
    """Return the error for an item that no worker survives; ``how`` they died is added in brackets."""
    return HnasError(f"a worker process died {ATTEMPTS} times ({how}) on the same item: {item!r}", hint=hint)


@define(eq=False)
class Values:
    """What workers are to have by name: each is sent what has changed since it was last sent something.

    A value that is put again as the same object keeps its version.
    """

    _held: dict[str, tuple[int, Any]] = field(factory=dict)

    def put(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Store values, and return the new ones among them."""
        new = {k: v for k, v in values.items() if k not in self._held or self._held[k][1] is not v}
        versions = self.versions()
        # replaced as a whole: threads may be reading it
        self._held = {**self._held, **{name: (versions.get(name, 0) + 1, value) for name, value in new.items()}}
        return new

    def versions(self) -> dict[str, int]:
        """Return the version of every value."""
        return {name: version for name, (version, _) in self._held.items()}

    def fresh(self, has: Mapping[str, int]) -> dict[str, Any]:
        """Return the values that a worker with these versions lacks."""
        return {name: value for name, (version, value) in self._held.items() if has.get(name) != version}


@define(eq=False)
class Turns:
    """Lets one map of an executor run at a time; ends one that was left early.

    It ends when its iterator is closed, another map begins, or the executor closes. An iterator that was left may stay
    alive, as by a traceback, so its being closed is not enough.
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
        """End the running map, if any."""
        self._current += 1
        self.drop()
