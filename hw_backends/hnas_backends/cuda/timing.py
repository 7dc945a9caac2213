"""How long work takes on a device: an inner loop long enough for its clock, warmed up, and sampled."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Protocol

import torch
from attrs import frozen

Work = Callable[[], object]
"""Something that is done again and again; on a GPU it only puts the work into the queue."""

MOST_RUNS = 1 << 20
FEWEST_SAMPLES = 3


@frozen(kw_only=True)
class TimingPlan:
    """How often, and how long. Times are in ms of the device."""

    samples: int
    sample_ms: float
    warmup_ms: float
    most_ms: float = 5000.0
    """No sample is begun after so long, once there are `FEWEST_SAMPLES`: large batches on slow devices."""


class Stopwatch(Protocol):
    """Takes the time of one device."""

    def lap(self, work: Work, runs: int, between: Work | None = None) -> float:
        """Return how long ``runs`` of ``work`` take, in ms, when all of it is done.

        With ``between``, that is done ahead of each run and its time is left out.
        """


class HostStopwatch:
    """The processor's own monotonic clock, for work that is done when its call returns."""

    def lap(self, work: Work, runs: int, between: Work | None = None) -> float:
        if between is None:
            started = time.perf_counter_ns()
            for _ in range(runs):
                work()
            return (time.perf_counter_ns() - started) / 1e6
        total = 0
        for _ in range(runs):
            between()
            started = time.perf_counter_ns()
            work()
            total += time.perf_counter_ns() - started
        return total / 1e6


class EventStopwatch:
    """CUDA events in the current stream: the time between them is the GPU's, not that of the queue's filling.

    An event's resolution is about 0.5 µs: so coarse is a single short run, as with ``between``, but not their mean.
    """

    def lap(self, work: Work, runs: int, between: Work | None = None) -> float:
        pairs = 1 if between is None else runs
        events = [(_event(), _event()) for _ in range(pairs)]
        for started, ended in events:
            if between is not None:
                between()
            started.record()
            for _ in range(runs // pairs):
                work()
            ended.record()
        events[-1][1].synchronize()
        return float(sum(started.elapsed_time(ended) for started, ended in events))


def _event() -> torch.cuda.Event:
    return torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]


def stopwatch(device: torch.device) -> Stopwatch:
    """Return the one that fits the device."""
    return EventStopwatch() if device.type == "cuda" else HostStopwatch()


def latencies(work: Work, watch: Stopwatch, plan: TimingPlan, between: Work | None = None) -> list[float]:
    """Return the samples: each the mean time of one run, in ms, over as many runs as fill ``plan.sample_ms``."""
    runs = _warmed_up(work, watch, plan, between)
    samples: list[float] = []
    began = time.perf_counter()
    while len(samples) < plan.samples:
        samples.append(watch.lap(work, runs, between) / runs)
        if len(samples) >= FEWEST_SAMPLES and 1e3 * (time.perf_counter() - began) > plan.most_ms:
            break
    return samples


def _warmed_up(work: Work, watch: Stopwatch, plan: TimingPlan, between: Work | None) -> int:
    """Run until the warm-up is over, and return how many runs last ``plan.sample_ms`` by then.

    The first run counts for nothing: it loads code and chooses algorithms, which takes as long as thousands of others.
    """
    watch.lap(work, 1, between)
    runs, spent = 1, 0.0
    while True:
        took = watch.lap(work, runs, between)
        spent += took
        if took < plan.sample_ms and runs < MOST_RUNS:
            runs = min(MOST_RUNS, math.ceil(1.2 * runs * plan.sample_ms / max(took, 1e-6)))
        elif spent >= plan.warmup_ms:
            return runs
