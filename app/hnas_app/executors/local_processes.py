"""Work in processes of this machine, which survives the death of one."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from multiprocessing import connection, get_context, parent_process, resource_tracker
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess
from typing import Any

from attrs import define, field

from hnas_app.executors.bookkeeping import ATTEMPTS, MEMORY_HINT, Turns, Values, given_up
from hnas_app.executors.environment import environment_of_workers, escape_streams
from hnas_app.executors.heap import settle_heap
from hnas_app.executors.interface import Executor, Work
from hnas_app.executors.interruption import ignore, unheard
from hnas_app.executors.pipes import pack, portable, receive, receive_parts, send, unpack

OWN_HINT = "its own message stands above; a script that starts workers needs `if __name__ == '__main__':`"


@define(eq=False)
class _Worker:
    process: SpawnProcess
    pipe: Connection
    item: int | None = None
    has: dict[str, int] = field(factory=dict)  # value name → version it was sent


class LocalProcesses(Executor):
    """Spawned worker processes, one intra-op thread each.

    A worker that dies is restarted and its item repeated; ``notify`` gets a sentence about it. If an item kills its
    worker `ATTEMPTS` times, the error names the item.
    """

    def __init__(self, size: int, notify: Callable[[str], None] | None = None) -> None:
        self.size = size
        self._notify = notify or (lambda text: print(text, file=sys.stderr))
        self._values = Values()
        self._workers: list[_Worker] = []
        self._turns = Turns(self._drop_busy)

    def put(self, **values: Any) -> None:
        self._values.put(values)

    def map_unordered(self, work: Work, items: Sequence[Any]) -> Iterator[tuple[int, Any]]:
        return self._turns.take(self._results(work, items))

    def _results(self, work: Work, items: Sequence[Any]) -> Iterator[tuple[int, Any]]:
        while len(self._workers) < self.size:
            self._workers.append(_start())
        waiting = _in_order(items, self.size)[::-1]
        deaths = dict.fromkeys(waiting, 0)
        while waiting or any(w.item is not None for w in self._workers):
            for worker in self._workers:
                if waiting and worker.item is None:
                    worker.item = waiting.pop()
                    self._send(worker, work, items[worker.item])
            for ready in connection.wait([w.pipe for w in self._workers if w.item is not None]):
                worker = next(w for w in self._workers if w.pipe is ready)
                index = worker.item
                assert index is not None
                try:
                    failure, result = receive(worker.pipe)
                except (EOFError, OSError):
                    deaths[index] += 1
                    worker.process.join(5)
                    code = worker.process.exitcode
                    if deaths[index] >= ATTEMPTS:
                        killed = code is not None and code < 0  # the kernel does so, with signal 9, if memory is short
                        raise given_up(items[index], f"exit code {code}", MEMORY_HINT if killed else OWN_HINT) from None
                    self._notify(f"a worker process died (exit code {code}); restarted, its work is repeated")
                    self._stop(worker)
                    self._workers[self._workers.index(worker)] = _start()
                    waiting.append(index)
                    continue
                worker.item = None
                if failure:
                    raise result
                yield index, result

    def close(self) -> None:
        self._turns.end()
        for worker in self._workers:
            self._stop(worker)
        self._workers = []

    def _drop_busy(self) -> None:
        """End the busy workers: nobody waits for their answers any more."""
        for worker in [w for w in self._workers if w.item is not None]:
            self._stop(worker)
            self._workers.remove(worker)

    def _send(self, worker: _Worker, work: Work, item: Any) -> None:
        try:
            send(worker.pipe, pack((self._values.fresh(worker.has), work, item)))
        except OSError:
            return  # it died: `wait` reports its pipe as ready, and the item is done again
        worker.has |= self._values.versions()

    @staticmethod
    def _stop(worker: _Worker) -> None:
        worker.pipe.close()
        worker.process.kill()
        worker.process.join()


def _in_order(items: Sequence[Any], workers: int) -> list[int]:
    """Return the items in the order of their start: the first ones by place, so that each worker keeps to its own."""
    numbers = range(len(items))
    return sorted(numbers[:workers], key=lambda i: getattr(items[i], "place", 0)) + list(numbers[workers:])


def _start() -> _Worker:
    context = get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_serve, args=(theirs,), daemon=True)
    with unheard():
        resource_tracker.ensure_running()  # alone, since it lets SIGINT and SIGTERM through again
    with environment_of_workers(), unheard():
        process.start()
    theirs.close()
    return _Worker(process, ours)


def _serve(pipe: Connection) -> None:
    """Answer requests until the pipe closes. Runs in the worker."""
    ignore()  # signals to the whole group, such as Ctrl-C
    escape_streams()
    threading.Thread(target=_end_with_driver, daemon=True).start()
    values: dict[str, Any] = {}
    while True:
        try:
            parts = receive_parts(pipe)
        except EOFError:
            return
        try:
            fresh, work, item = unpack(parts)
            values |= fresh
            answer = pack((False, work(values, item)))
        except BaseException as error:
            answer = pack((True, portable(error)))
        try:
            send(pipe, answer)
        except (BrokenPipeError, ConnectionResetError):
            return
        settle_heap()
        while not pipe.poll() and any([value.prepare() for value in values.values() if hasattr(value, "prepare")]):
            pass


def _end_with_driver() -> None:
    """End this worker when its driver is gone, perhaps killed: else an item may run on for minutes, for nobody."""
    driver = parent_process()
    if driver is not None:
        connection.wait([driver.sentinel])
        os._exit(1)
