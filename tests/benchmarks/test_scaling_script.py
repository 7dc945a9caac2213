"""What many workers would give is computed from what was measured: its bounds are those of arithmetic."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture(scope="module")
def scaling(benchmark_module: Callable[[str], ModuleType]) -> ModuleType:
    return benchmark_module("scaling")


@pytest.mark.parametrize("workers", [1, 2, 3, 7, 1000])
def test_a_generation_ends_neither_too_soon_nor_too_late(scaling: ModuleType, workers: int) -> None:
    """Not before its longest item, nor its even share, nor the driver; and greedy is at most twice the best."""
    items, overhead = [5.0, 3.0, 3.0, 2.0, 1.0, 0.5], 0.01
    found = scaling.makespan(items, workers, overhead)
    least = max(items[0] + overhead, sum(items) / workers, len(items) * overhead)
    assert least <= found <= 2 * least
    if workers == 1:
        assert found == pytest.approx(sum(items) + overhead)


def test_the_driver_is_what_ends_the_growth(scaling: ModuleType) -> None:
    """Items of a millisecond, of which it hands out a thousand a second: ten workers are as fast as a thousand."""
    times = [scaling.makespan([0.001] * 1000, workers, 0.001) for workers in (1, 10, 1000)]
    assert times[1] == times[2] == pytest.approx(1.001)


def test_more_workers_than_tasks_train_no_faster(scaling: ModuleType) -> None:
    """By hand: 8 tasks on 3 workers are shares of 3, 3 and 2, on 8 and more of one."""
    part_s = {1: 0.2, 2: 0.3, 3: 0.4, 4: 0.5, 8: 0.9}
    seconds = [scaling.iteration(part_s, 8, w, 0.01, 0.0) for w in (1, 2, 3, 8, 100)]
    assert seconds == pytest.approx([0.91, 0.51, 0.41, 0.21, 0.21])


def test_ranks_exchange_in_a_ring_and_workers_through_one_wire(scaling: ModuleType) -> None:
    """4 MB each way at 1 GB/s."""
    size, speed = 4_000_000, 1e9
    assert (
        scaling.exchange(size, size, 1, speed, ranks=True) == scaling.exchange(size, size, 1, speed, ranks=False) == 0
    )
    assert scaling.exchange(size, size, 10, speed, ranks=False) == pytest.approx(0.08)
    assert scaling.exchange(size, size, 10, speed, ranks=True) == pytest.approx(0.0072 + 18 * scaling.LATENCY_S)


@pytest.mark.slow
def test_the_script_measures_and_computes(hnas_home: Path) -> None:
    """At toy size; the rows are those of docs/scaling.md."""
    name = f"test-{os.getpid()}"
    sizes = ["space.base_width=4", "learner.inner_steps=2", "meta_train.tasks=4", "search.tasks=3", "search.n_query=2"]
    sets = [part for setting in sizes for part in ("--set", setting)]
    done = subprocess.run(
        [
            sys.executable, str(BENCHMARKS / "scaling.py"), "--preset", "quick", *sets, "--sample", "3",
            "--items", "50", "--executors", "threads,processes", "--name", name, "--json",
        ],
        capture_output=True,
        text=True,
        timeout=600,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    results = BENCHMARKS / "results" / f"{name}.json"
    try:
        assert done.returncode == 0, done.stderr
        content = json.loads(done.stdout)
        assert content == json.loads(results.read_text())
    finally:
        results.unlink(missing_ok=True)
    assert content["measured"]["part_s"].keys() == {"1", "2", "4"}
    assert all(content["measured"][f"{what}_bytes"] > 1000 for what in ("setup", "state", "gradient"))
    assert all(found["item_s"] > 0 for found in content["executors"].values())
    by = {(row["what"], row["by"]): [] for row in content["rows"]}
    for row in content["rows"]:
        by[row["what"], row["by"]].append(row)
    assert len(by) == 4
    for rows in by.values():
        assert [row["workers"] for row in rows] == [1, 10, 100, 1000]
        assert rows[0]["speed_up"] == 1
