"""Drawing the tasks of a training's next iteration while nobody waits for them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

import attrs
from attrs import frozen

from hnas.episode import Episodes, EpisodeSpec
from hnas.task_source import Split

FEW = 4
"""Tasks drawn in one go: a caller that asks meanwhile may have to wait for them."""
SPARE = 1.25
"""Tasks drawn ahead for each one asked for on average: a worker's tasks of a meta-batch vary."""
AHEAD_BYTES = 256 << 20
MEMORY = 0.9
"""Share of its past that a task's chance of being asked for keeps at each count."""


@frozen(kw_only=True)
class Stream:
    """An endless, seeded stream of tasks; those of a training have a counter, its iteration."""

    split: Split
    purpose: str
    spec: EpisodeSpec
    counter: tuple[int, ...] = ()

    @property
    def following(self) -> Stream:
        """The stream of the next count."""
        return attrs.evolve(self, counter=(*self.counter[:-1], self.counter[-1] + 1))


Draw = Callable[[Stream, Sequence[int]], Episodes]
"""Draws tasks of a stream by their indices."""


class Prefetcher:
    """Draws ahead the tasks of a stream's next count that have been asked for most often.

    It changes when tasks are drawn, not which. A worker process calls `prepare` while it waits for its driver, or a
    thread of this process does. The thread is for GPUs: on a CPU both threads want the interpreter, and an iteration
    was between 13 % shorter and 3 % longer (benchmarks/results/episodes.json).
    """

    def __init__(self, draw: Draw, *, thread: bool = False) -> None:
        self._draw = draw
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="hnas-tasks") if thread else None
        self._lock = threading.Lock()
        self._now: Stream | None = None
        self._asked: set[int] = set()
        self._chances: dict[int, float] = {}
        self._ready: dict[int, Episodes] = {}  # of the present count
        self._ahead: dict[int, Episodes] = {}  # of the next

    def get(self, stream: Stream, indices: Sequence[int]) -> Episodes:
        """Return tasks of a stream with a counter; those that were not drawn ahead are drawn now."""
        with self._lock:
            if stream != self._now:
                self._turn(stream)
            self._asked.update(indices)
            missing = [i for i in indices if i not in self._ready]
            if len(missing) == len(indices):
                found = self._draw(stream, indices)
            else:
                drawn = _singly(missing, self._draw(stream, missing)) if missing else {}
                found = Episodes.gather((drawn.get(i) or self._ready.pop(i) for i in indices), len(indices))
        if self._thread:
            self._thread.submit(self._prepare_all)
        return found

    def prepare(self) -> bool:
        """Draw a few tasks that are likely to be asked for next; return whether there may be more."""
        with self._lock:
            likely = [i for i in self._likely() if i not in self._ahead][:FEW]
            if self._now is None or not likely or sum(t.nbytes for t in self._ahead.values()) > AHEAD_BYTES:
                return False
            try:
                self._ahead |= _singly(likely, self._draw(self._now.following, likely))
            except BaseException:
                self._now = None  # the error is raised when these tasks are asked for
            return True

    def _prepare_all(self) -> None:
        while self.prepare():
            pass

    def _turn(self, stream: Stream) -> None:
        """Turn to another count: the next one, or one of another stream."""
        if self._now is None or attrs.evolve(stream, counter=self._now.counter) != self._now:
            self._chances, self._asked = {}, set()
        seen = self._chances.keys() | self._asked
        weight = 1 - MEMORY if self._chances else 1.0
        self._chances = {i: (1 - weight) * self._chances.get(i, 0) + weight * (i in self._asked) for i in seen}
        self._ready = self._ahead if self._now is not None and stream == self._now.following else {}
        self._ahead, self._asked, self._now = {}, set(), stream

    def _likely(self) -> list[int]:
        """Return the tasks that are worth drawing ahead, the likeliest first."""
        chances = self._chances or dict.fromkeys(sorted(self._asked), 1.0)
        return sorted(chances, key=lambda i: -chances[i])[: round(SPARE * sum(chances.values()))]


def _singly(indices: Sequence[int], tasks: Episodes) -> dict[int, Episodes]:
    return {index: tasks[at : at + 1] for at, index in enumerate(indices)}
