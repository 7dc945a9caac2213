"""Work in threads of this process: torch frees the interpreter while it computes."""

from __future__ import annotations

import copy
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from typing import Any

from hnas_app.executors.bookkeeping import Turns, Values
from hnas_app.executors.heap import settle_heap
from hnas_app.executors.interface import Executor, Work


class Threads(Executor):
    """Threads with one intra-op thread each.

    Each has deep copies of the values that were put, as a worker process has: a set-up, a learner or a task source
    needs no locks. A thread cannot be killed. If an iteration is left early, items that have not begun are dropped, and
    those that have begun run to their end; `close` waits for them.
    """

    def __init__(self, size: int) -> None:
        import torch

        self.size = size
        self._values = Values()
        self._mine = threading.local()
        self._threads = torch.get_num_threads()
        torch.set_num_threads(1)  # for threads to come as well
        self._pool: ThreadPoolExecutor | None = None
        self._running: dict[Future[Any], int] = {}
        self._turns = Turns(self._drop)

    def put(self, **values: Any) -> None:
        self._values.put(values)

    def map_unordered(self, work: Work, items: Sequence[Any]) -> Iterator[tuple[int, Any]]:
        return self._turns.take(self._results(work, items))

    def _results(self, work: Work, items: Sequence[Any]) -> Iterator[tuple[int, Any]]:
        if self._pool is None:
            self._pool = ThreadPoolExecutor(self.size, thread_name_prefix="hnas-worker")
        running = self._running = {self._pool.submit(self._run, work, item): i for i, item in enumerate(items)}
        for done in as_completed(list(running)):
            yield running.pop(done), done.result()
            settle_heap()

    def close(self) -> None:
        import torch

        self._turns.end()
        if self._pool is not None:
            self._pool.shutdown()
            self._pool = None
        torch.set_num_threads(self._threads)

    def _drop(self) -> None:
        for future in self._running:
            future.cancel()
        self._running = {}

    def _run(self, work: Work, item: Any) -> Any:
        """Run in a thread: bring its values up to date, and do the work."""
        has: dict[str, int] = self._mine.__dict__.setdefault("versions", {})
        values: dict[str, Any] = self._mine.__dict__.setdefault("values", {})
        versions = self._values.versions()
        values |= copy.deepcopy(self._values.fresh(has))
        has |= versions
        return work(values, item)
