"""Drawing the tasks of the next iteration while this one is computed."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from concurrent.futures import Future, ThreadPoolExecutor

from hnas.episode import Episodes

AHEAD = 256
"""Tasks kept ahead at most: more than a meta-batch; those that nobody asked for are forgotten."""


class Prefetcher:
    """Draws tasks ahead in a thread. What is drawn does not depend on it, only when.

    For training on a GPU. On a CPU both threads want the interpreter: small networks trained more slowly with it,
    large ones hardly faster (benchmarks/results/episodes.json).
    """

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="hnas-tasks")
        self._ahead: OrderedDict[Hashable, Future[Episodes]] = OrderedDict()

    def get(self, key: Hashable, draw: Callable[[], Episodes]) -> Episodes:
        """Return the task ``key``: what was drawn ahead, else what ``draw`` gives now. Raises what ``draw`` raises."""
        ahead = self._ahead.pop(key, None)
        return draw() if ahead is None or ahead.cancel() else ahead.result()

    def start(self, key: Hashable, draw: Callable[[], Episodes]) -> None:
        """Draw a task that is likely asked for next."""
        if key not in self._ahead:
            self._ahead[key] = self._thread.submit(draw)
        while len(self._ahead) > AHEAD:
            self._ahead.popitem(last=False)[1].cancel()
