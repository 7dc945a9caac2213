"""The benchmark of fronts gives all searches the same budget, and compares them on common tasks."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

from hnas_app.cli import run

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.mark.parametrize("slice_", ["fresh", "fixed"])
def test_searches_have_one_budget_and_one_reference_point(
    benchmark_module: Callable[[str], ModuleType],
    required_module: Callable[[str], ModuleType],
    tmp_path: Path,
    slice_: str,
) -> None:
    required_module("pymoo")
    small = {"space.base_width": 4, "task.n_way": 2, "meta_train.epochs": 1, "meta_train.iterations": 3}
    small |= {"meta_train.shrink_start": 0, "search.pool": 12, "search.n_query": 2, "learner.inner_steps": 2}
    small |= {"evaluate.n_query": 2}
    sets = [part for key, value in small.items() for part in ("--set", f"{key}={value}")]
    supernet = str(tmp_path / "supernet")
    assert run(["meta-train", "--preset", "none", "--workers", "1", "--run-dir", supernet, *sets]) == 0
    name = f"test-fronts-{os.getpid()}"
    results = BENCHMARKS / "results" / f"{name}.json"
    try:
        benchmark_module("fronts").main(
            [supernet, "--seeds", "2", "--population", "6", "--iterations", "3", "--tasks", "2", "--common-tasks", "3",
             "--quantiles", "0.3,0.7", "--slice", slice_, "--json", "--name", name]
        )  # fmt: skip
        content = json.loads(results.read_text())
    finally:
        results.unlink(missing_ok=True)
    rows = content["rows"]
    assert [(r["seed"], r["strategy"]) for r in rows] == [
        (seed, strategy) for seed in range(2) for strategy in ("genetic", "nsga2", "random")
    ]
    for seed in range(2):
        genetic, *others = (r for r in rows if r["seed"] == seed)
        assert genetic["evaluations"] <= 2 * 3 * 6 * 2  # limits × iterations × population × tasks
        for other in others:
            assert genetic["evaluations"] - 6 * 2 < other["evaluations"] <= genetic["evaluations"]
        assert genetic["chosen"] <= genetic["hypervolume"]
    assert all(0 <= r["hypervolume"] <= 1 and r["on_the_front"] <= r["candidates"] for r in rows)
    assert content["reference_point"][0] == pytest.approx(1.1 * max(content["limits"]))
    assert content["summary"]["seeds"] == 2
