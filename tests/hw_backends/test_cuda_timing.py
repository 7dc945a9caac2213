"""Timing of the CUDA backend, with the processor's clock: the loop is the same for both."""

import time

import pytest
import torch

from hnas_backends.cuda import CUDAOptions
from hnas_backends.cuda.bench import Bench
from hnas_backends.cuda.timing import host_lap, latencies

PLAN = CUDAOptions(samples=5, sample_ms=2.0, warmup_ms=5.0)


class Spinner:
    """Work of a known length, at least, that counts its runs."""

    def __init__(self, ms: float, first_ms: float = 0.0) -> None:
        self.ms, self.first_ms, self.runs = ms, first_ms, 0

    def __call__(self) -> None:
        self.runs += 1
        until = time.perf_counter_ns() + 1e6 * (self.first_ms if self.runs == 1 and self.first_ms else self.ms)
        while time.perf_counter_ns() < until:
            pass


def test_a_sample_is_the_time_of_one_run():
    """Samples are of whole loops, or in another unit."""
    work = Spinner(ms=3.0)
    samples = latencies(work, host_lap, PLAN)
    assert len(samples) == PLAN.samples
    assert min(samples) >= 3.0
    assert min(samples) < 6.0  # a loaded machine takes the processor away, but not every time


def test_short_work_is_repeated_until_a_sample_is_long_enough():
    """A clock of 100 ns, or an event of 500 ns, around one run of 1 µs would measure the clock."""
    x, runs = torch.ones(8), 0

    def work():
        nonlocal runs
        runs += 1
        x.add(1)

    started = time.perf_counter()
    samples = latencies(work, host_lap, PLAN)
    took_ms = 1e3 * (time.perf_counter() - started)
    assert runs > 100 * PLAN.samples
    assert 0 < max(samples) < PLAN.sample_ms / 10
    assert took_ms > 0.5 * (PLAN.samples * PLAN.sample_ms + PLAN.warmup_ms)


def test_a_slow_first_run_does_not_decide_how_often_the_work_is_repeated():
    """Loading code takes as long as thousands of runs; one run would then be taken for a sample's worth."""
    work = Spinner(ms=0.01, first_ms=50.0)
    latencies(work, host_lap, CUDAOptions(samples=5, sample_ms=4.0, warmup_ms=0.0))
    assert work.runs > 5 * 10


def test_the_warm_up_lasts_as_long_as_asked():
    """Clocks are low at first: the first samples would be too slow."""
    work = Spinner(ms=1.0)
    latencies(work, host_lap, CUDAOptions(samples=1, sample_ms=1.0, warmup_ms=30.0))
    assert work.runs <= 32
    assert work.ms * work.runs > 10  # interrupted, fewer runs than 30 fill the time


def test_slow_work_ends_after_a_while_but_not_before_three_samples():
    """A large batch on a slow device would take hours for one layer."""
    work = Spinner(ms=20.0)
    samples = latencies(work, host_lap, CUDAOptions(samples=50, sample_ms=1.0, warmup_ms=0.0), most_ms=100.0)
    assert 3 <= len(samples) <= 6
    assert len(latencies(work, host_lap, CUDAOptions(samples=50, sample_ms=1.0, warmup_ms=0.0), most_ms=1.0)) == 3


def test_what_is_done_between_runs_is_not_timed():
    """Emptying the cache takes many times what a layer takes."""
    work, between = Spinner(ms=1.0), Spinner(ms=20.0)
    samples = latencies(work, host_lap, CUDAOptions(samples=3, sample_ms=2.0, warmup_ms=0.0), between)
    assert between.runs == work.runs
    assert min(samples) < 10.0


def test_the_processor_is_timed_by_its_own_clock():
    assert Bench(torch.device("cpu"), PLAN)._lap is host_lap


@pytest.mark.parametrize("between", [None, lambda: None])
def test_a_lap_of_several_runs_is_their_sum(between):
    assert 5 * 2.0 <= host_lap(Spinner(ms=2.0), 5, between) < 60.0
