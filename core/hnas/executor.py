"""Where work runs: in this process, or in local worker processes that survive the death of one."""

from __future__ import annotations

import io
import os
import signal
import sys
import threading
import traceback
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from multiprocessing import connection, get_context, parent_process
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess
from multiprocessing.reduction import ForkingPickler
from typing import Any

from attrs import define, field

from hnas.errors import HnasError

Work = Callable[[Mapping[str, Any], Any], Any]
"""A module-level function of (values that were put, item)."""

OUT_OF_BAND_BYTES = 1 << 16

ATTEMPTS = 3
"""How often an item may kill its worker before it is given up."""

ONE_THREAD = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
"""In every worker, whatever the driver's environment says. Set before it imports torch, which then need not be."""

WORKER_ENVIRONMENT = {
    "OMP_WAIT_POLICY": "PASSIVE",  # with spinning threads a busy machine is 30 times slower
    # Keep freed memory, in huge pages: training allocates and frees the same large blocks for hours. (Blocks above
    # 32 MB would be given back to the kernel each time, whatever the threshold; `mmap_max` is what prevents it.)
    "GLIBC_TUNABLES": "glibc.malloc.hugetlb=1:glibc.malloc.mmap_max=0:glibc.malloc.trim_threshold=2147483647",
}
"""In workers where the driver's environment does not say otherwise."""


class Executor(ABC):
    """Runs functions over items, on values that are sent to the workers once."""

    size: int

    @abstractmethod
    def put(self, **values: Any) -> None:
        """Hand every worker these values, replacing earlier ones of the same names.

        A value that is the same object as before is not sent again, so it must not have changed.
        """

    @abstractmethod
    def map_unordered(self, work: Work, items: Sequence[Any]) -> Iterator[tuple[int, Any]]:
        """Yield (index, result) for each item, as they finish. An exception in ``work`` is raised here."""

    @abstractmethod
    def close(self) -> None:
        """End the workers."""

    def map(self, work: Work, items: Sequence[Any]) -> list[Any]:
        """Return the results in the order of the items."""
        results = dict(self.map_unordered(work, items))
        return [results[i] for i in range(len(items))]

    def __enter__(self) -> Executor:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


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

    def close(self) -> None:
        import torch

        torch.set_num_threads(self._threads)


@define(eq=False)
class _Worker:
    process: SpawnProcess
    pipe: Connection
    item: int | None = None
    has: dict[str, int] = field(factory=dict)  # value name → version it was sent


class LocalProcesses(Executor):
    """Spawned worker processes, one intra-op thread each.

    A worker that dies is restarted and its item done again; ``notify`` is told so in a sentence. An item that kills
    its worker `ATTEMPTS` times is an error that names it.
    """

    def __init__(self, size: int, notify: Callable[[str], None] | None = None) -> None:
        self.size = size
        self._notify = notify or (lambda text: print(text, file=sys.stderr))
        self._values: dict[str, tuple[int, Any]] = {}
        self._workers: list[_Worker] = []
        self._maps = 0

    def put(self, **values: Any) -> None:
        for name, value in values.items():
            version, before = self._values.get(name, (0, None))
            if value is not before:
                self._values[name] = (version + 1, value)

    def map_unordered(self, work: Work, items: Sequence[Any]) -> Iterator[tuple[int, Any]]:
        self._drop_busy()  # an iteration that was left early, and is still referred to, as by a traceback
        self._maps += 1
        current = self._maps
        while len(self._workers) < self.size:
            self._workers.append(_start())
        waiting = list(range(len(items)))[::-1]
        deaths = dict.fromkeys(waiting, 0)
        try:
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
                        failure, result = _receive(worker.pipe)
                    except (EOFError, OSError):
                        deaths[index] += 1
                        if deaths[index] >= ATTEMPTS:
                            raise _given_up(items[index], _exit_code(worker)) from None
                        self._replace(worker)
                        waiting.append(index)
                        continue
                    worker.item = None
                    if failure:
                        raise result
                    yield index, result
                    if self._maps != current:
                        raise RuntimeError("map_unordered went on after another map of this executor had begun")
        finally:
            if self._maps == current:
                self._drop_busy()

    def close(self) -> None:
        self._maps += 1
        for worker in self._workers:
            self._stop(worker)
        self._workers = []

    def _drop_busy(self) -> None:
        """End the workers that are at work: nobody waits for their answers any more."""
        for worker in [w for w in self._workers if w.item is not None]:
            self._stop(worker)
            self._workers.remove(worker)

    def _send(self, worker: _Worker, work: Work, item: Any) -> None:
        fresh = {k: v for k, (version, v) in self._values.items() if worker.has.get(k) != version}
        try:
            _send(worker.pipe, _pack((fresh, work, item)))
        except OSError:
            return  # it died: `wait` reports its pipe as ready, and the item is done again
        worker.has |= {k: self._values[k][0] for k in fresh}

    def _replace(self, worker: _Worker) -> None:
        code = _exit_code(worker)
        self._notify(f"a worker process died (exit code {code}); restarted, its work is repeated")
        self._stop(worker)
        self._workers[self._workers.index(worker)] = _start()

    @staticmethod
    def _stop(worker: _Worker) -> None:
        worker.pipe.close()
        worker.process.terminate()
        worker.process.join(5)
        if worker.process.is_alive():
            worker.process.kill()
            worker.process.join()


def usable_cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1  # macOS


def executor(workers: int, notify: Callable[[str], None] | None = None) -> Executor:
    """Return the default executor: this process for one worker, else local processes. 0 takes one per usable core."""
    count = workers or usable_cores()
    return InProcess() if count == 1 else LocalProcesses(count, notify)


def _exit_code(worker: _Worker) -> int | None:
    worker.process.join(5)
    return worker.process.exitcode


def _given_up(item: Any, code: int | None) -> HnasError:
    """Return the error for an item that no worker survives; the kernel kills with signal 9 where memory is short."""
    if code is not None and code < 0:
        hint = "it may need more memory than there is: lower the number of workers or of tasks"
    else:
        hint = "its own message stands above; a script that starts workers needs `if __name__ == '__main__':`"
    return HnasError(f"a worker process died {ATTEMPTS} times (exit code {code}) on the same item: {item!r}", hint=hint)


def _start() -> _Worker:
    context = get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_serve, args=(theirs,), daemon=True)
    with _environment({**WORKER_ENVIRONMENT, **os.environ, **ONE_THREAD}):
        process.start()
    theirs.close()
    return _Worker(process, ours)


def _serve(pipe: Connection) -> None:
    """Answer requests until the pipe closes. Runs in the worker."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the driver decides what ends
    threading.Thread(target=_end_with_driver, daemon=True).start()
    values: dict[str, Any] = {}
    while True:
        try:
            fresh, work, item = _receive(pipe)
            values |= fresh
            answer = _pack((False, work(values, item)))
        except EOFError:
            return
        except Exception as error:
            answer = _pack((True, _portable(error)))
        try:
            _send(pipe, answer)
        except (BrokenPipeError, ConnectionResetError):
            return


def _end_with_driver() -> None:
    """End this worker when its driver is gone, killed perhaps: an item may go on for minutes, for nobody."""
    driver = parent_process()
    if driver is not None:
        connection.wait([driver.sentinel])
        os._exit(1)


def _pack(value: Any) -> list[memoryview]:
    """Pickle ``value``: first the pickle, then the large arrays in it, as they lie in memory.

    So they are copied into the pipe and out of it, and not thrice more: states and gradients are megabytes.
    """
    arrays: list[memoryview] = []

    def in_band(buffer: Any) -> bool:  # a pickle.PickleBuffer
        raw: memoryview = buffer.raw()
        if raw.nbytes >= OUT_OF_BAND_BYTES:
            arrays.append(raw)
        return raw.nbytes < OUT_OF_BAND_BYTES

    stream = io.BytesIO()
    ForkingPickler(stream, 5, True, in_band).dump(value)
    return [stream.getbuffer(), *arrays]


def _send(pipe: Connection, parts: Sequence[memoryview]) -> None:
    pipe.send([len(part) for part in parts])
    for part in parts:
        pipe.send_bytes(part)


def _receive(pipe: Connection) -> Any:
    """Return what the other side packed. Raises `EOFError` where that side has ended."""
    parts = [bytearray(size) for size in pipe.recv()]
    for part in parts:
        pipe.recv_bytes_into(part)
    return ForkingPickler.loads(parts[0], buffers=parts[1:])


def _portable(error: Exception) -> Exception:
    """Return the error with this process's traceback as a note; one that cannot cross the pipe, as its text."""
    note = "in a worker process:\n" + traceback.format_exc()
    try:
        found: Exception = ForkingPickler.loads(ForkingPickler.dumps(error))
    except Exception:
        found = RuntimeError(f"{type(error).__name__}: {error}")
    found.add_note(note)
    return found


@contextmanager
def _environment(values: Mapping[str, str]) -> Iterator[None]:
    """Have these values in the environment meanwhile: a new process inherits it."""
    before = dict(os.environ)
    os.environ.update(values)
    try:
        yield
    finally:
        for name in values.keys() - before.keys():
            del os.environ[name]
        os.environ.update(before)
