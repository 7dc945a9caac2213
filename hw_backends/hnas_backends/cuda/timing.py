"""How long work takes on a device: an inner loop long enough for its clock, warmed up, and sampled."""

from __future__ import annotations

import math
import time
from collections.abc import Callable

import torch

from hnas_backends.cuda.options import CUDAOptions
from hnas_backends.x86.timing import FEWEST_SAMPLES, Work, run

MOST_RUNS = 1 << 20
MOST_MS = 5000.0
"""No sample begins after this time, once there are `FEWEST_SAMPLES`; for large batches on slow devices."""
Lap = Callable[[Work, int, Work | None], float]
"""Takes the time of so many runs of the work, in ms, when all of it is done; on a GPU, work only fills a queue. What is
done between, ahead of each run, is left out."""


def host_lap(work: Work, runs: int, between: Work | None = None) -> float:
    """Take the time by the processor's own monotonic clock, for work that is done when its call returns."""
    return run(work, between, runs)[0] / 1e6


def event_lap(work: Work, runs: int, between: Work | None = None) -> float:
    """Take the time by CUDA events in the current stream: it is the GPU's, without the time to fill the queue.

    An event's resolution is about 0.5 µs. This limits a single short run, as with ``between``, but not a mean.
    """
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


def latencies(
    work: Work, lap: Lap, options: CUDAOptions, between: Work | None = None, most_ms: float = MOST_MS
) -> list[float]:
    """Return the samples: each the mean time of one run, in ms, over as many runs as fill ``options.sample_ms``."""
    runs = _warmed_up(work, lap, options, between)
    samples: list[float] = []
    began = time.perf_counter()
    while len(samples) < options.samples:
        samples.append(lap(work, runs, between) / runs)
        if len(samples) >= FEWEST_SAMPLES and 1e3 * (time.perf_counter() - began) > most_ms:
            break
    return samples


def _warmed_up(work: Work, lap: Lap, options: CUDAOptions, between: Work | None) -> int:
    """Run until the warm-up is over, and return how many runs last ``options.sample_ms`` by then.

    The first run is not counted: it loads code and chooses algorithms, which takes as long as thousands of others.
    """
    lap(work, 1, between)
    runs, spent = 1, 0.0
    while True:
        took = lap(work, runs, between)
        spent += took
        if took < options.sample_ms and runs < MOST_RUNS:
            runs = min(MOST_RUNS, math.ceil(1.2 * runs * options.sample_ms / max(took, 1e-6)))
        elif spent >= options.warmup_ms:
            return runs
