"""Time work within this process, on one core; the C program does the same itself."""

from __future__ import annotations

import gc
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from attrs import define, field

from hnas_backends.x86.options import X86Options

Work = Callable[[], object]
"""Something that is done again and again."""
FEWEST_SAMPLES = 3
WARM_RUNS = 3
WARM_NS, FIRST_WARM_NS = 5_000_000, 500_000_000
PAUSE_NS = 1_000_000_000
"""After such a pause the clock may have dropped: the next work is warmed up like the first one."""


@define
class Sampler:
    """Takes samples on a core, and remembers when it last did."""

    options: X86Options
    core: int
    _last_ns: int | None = None
    _flushed: bytearray = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._flushed = bytearray(self.options.flush_mb << 20)

    def samples(self, work: Work, between: Work | None = None) -> list[float]:
        """Return the time of one run in each sample, ms: warmed up, on the core, without garbage collection.

        Runs follow each other at once, or each follows a call of ``between``, whose time is not counted. The calling
        thread's affinity is restored afterwards.
        """
        paused = self._last_ns is None or time.monotonic_ns() - self._last_ns > PAUSE_NS
        with pinned(self.core), _no_collector():
            try:
                self._warm_up(work, between, FIRST_WARM_NS if paused else WARM_NS)
                return self._take(work, between, self._inner_runs(work, between))
            finally:
                self._last_ns = time.monotonic_ns()

    def _warm_up(self, work: Work, between: Work | None, least_ns: int) -> None:
        started, runs = time.perf_counter_ns(), 0
        while runs < WARM_RUNS or time.perf_counter_ns() - started < least_ns:
            run(work, between, 1)
            runs += 1

    def _inner_runs(self, work: Work, between: Work | None) -> int:
        """Return how many runs fill the shortest sample."""
        if self.options.flush_mb:
            return 1
        inner, least_ns = 1, self.options.sample_ms * 1e6
        while (taken := run(work, between, inner)[1]) < least_ns:
            inner = int(inner * min(10.0, 1.1 * least_ns / max(taken, 1))) + 1
        return inner

    def _take(self, work: Work, between: Work | None, inner: int) -> list[float]:
        taken: list[float] = []
        end_ns = time.perf_counter_ns() + self.options.limit_ms * 1e6
        while len(taken) < self.options.samples and (len(taken) < FEWEST_SAMPLES or time.perf_counter_ns() < end_ns):
            if self._flushed:
                self._flushed[:] = bytes(len(self._flushed))
            taken.append(run(work, between, inner)[0] / inner / 1e6)
        return taken


def run(work: Work, between: Work | None, inner: int) -> tuple[int, int]:
    """Run ``work`` ``inner`` times; return its time, and the time with the calls of ``between``, ns."""
    begun = time.perf_counter_ns()
    if between is None:
        for _ in range(inner):
            work()
        taken = time.perf_counter_ns() - begun
        return taken, taken
    taken = 0
    for _ in range(inner):
        between()
        started = time.perf_counter_ns()
        work()
        taken += time.perf_counter_ns() - started
    return taken, time.perf_counter_ns() - begun


@contextmanager
def pinned(core: int) -> Iterator[None]:
    """Keep the calling thread on one core; restore its affinity afterwards."""
    if not hasattr(os, "sched_setaffinity"):  # macOS pins nothing
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


@contextmanager
def _no_collector() -> Iterator[None]:
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()
