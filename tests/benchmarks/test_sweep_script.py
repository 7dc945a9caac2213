"""The benchmark of sweeps runs on a real super-net at toy size, and its rows say what the issue asks for."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
TINY = {
    "space.base_width": 4,
    "learner.inner_steps": 1,
    "learner.multi_step_loss": False,
    "meta_train.epochs": 1,
    "meta_train.iterations": 2,
    "meta_train.shrink_start": 0,
    "search.tasks": 3,
    "search.pool": 8,
    "search.final_tasks": 5,
    "search.finalists": 2,
}


def run(*command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *command],
        capture_output=True,
        text=True,
        timeout=240,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )


def test_pairs_must_divide_into_sweeps(tmp_path: Path) -> None:
    """Else a row would tell of other pairs than the one that it is compared with."""
    done = run(str(BENCHMARKS / "sweep.py"), str(tmp_path), "--backend", "eyeriss", "--pairs", "1,3")
    assert done.returncode == 2
    assert "expected 1 and then divisors of the 4 pairs" in done.stderr


@pytest.mark.slow
def test_a_sweep_is_measured_against_separate_searches(tmp_path: Path, hnas_home: Path) -> None:
    """Over two devices, one of them a file of measurements."""
    sets = [part for key, value in TINY.items() for part in ("--set", f"{key}={value}")]
    program = "from hnas_app.cli import main; main()"
    trained = run("-c", program, "meta-train", "--preset", "quick", "--run-dir", str(tmp_path / "run"), *sets)
    assert trained.returncode == 0, trained.stderr
    profile = ("profile", "--backend", "eyeriss-rs", "--input", "1x28x28", "--set", "space.base_width=4")
    assert run("-c", program, *profile).returncode == 0
    table = tmp_path / "board.json"
    exported = run("-c", program, "profile", "export", str(table), "--backend", "eyeriss-rs")
    assert exported.returncode == 0, exported.stderr
    name = f"test-{os.getpid()}"
    done = run(
        str(BENCHMARKS / "sweep.py"), str(tmp_path / "run"), "--backend", "eyeriss", "--table", str(table),
        "--quantiles", "0.3,0.7", "--pairs", "1,4", "--population", "10", "--iterations", "3", "--tasks", "200",
        "--workers", "1", "--name", name, "--json",
    )  # fmt: skip
    results = BENCHMARKS / "results" / f"{name}.json"
    try:
        assert done.returncode == 0, done.stderr
        content = json.loads(results.read_text())
    finally:
        results.unlink(missing_ok=True)
    assert json.loads(done.stdout) == content
    assert content["devices"] == ["eyeriss", "table:board.json"]
    assert str(tmp_path) not in json.dumps(content)
    separate, together = content["rows"]
    assert [separate["pairs"], together["pairs"]] == [1, 4]
    assert (separate["share_of_separate"], separate["median_gap_to_separate"]) == (1.0, 0.0)
    assert 0 < together["evaluations_per_pair"] < separate["evaluations_per_pair"]
    assert together["share_of_separate"] < 1
    for row in content["rows"]:
        assert row["seconds_per_pair"] > 0
        assert row["median_loss_200_tasks"] > 0
        assert len(row["losses"]) == 4
    gaps = sorted(together["losses"][pair] - loss for pair, loss in separate["losses"].items())
    assert together["median_gap_to_separate"] == pytest.approx((gaps[1] + gaps[2]) / 2, abs=2e-4)
