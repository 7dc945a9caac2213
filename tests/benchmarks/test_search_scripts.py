"""The whole-search benchmark runs on a real run directory; the one that needs a clone says so where there is none."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


def run(*command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *command],
        capture_output=True,
        text=True,
        timeout=240,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )


@pytest.mark.slow
def test_a_search_is_measured_against_its_trace_scored_the_plain_way(tmp_path: Path, hnas_home: Path) -> None:
    small = {"space.base_width": 8, "meta_train.epochs": 1, "meta_train.iterations": 2, "meta_train.shrink_start": 0}
    sets = [part for key, value in small.items() for part in ("--set", f"{key}={value}")]
    program = "from hnas_app.cli import main; main()"
    trained = run("-c", program, "meta-train", "--preset", "quick", "--run-dir", str(tmp_path / "run"), *sets)
    assert trained.returncode == 0, trained.stderr
    name = f"test-{os.getpid()}"
    done = run(
        str(BENCHMARKS / "search.py"), str(tmp_path / "run"), "--population", "12", "--iterations", "3", "--tasks", "4",
        "--sample", "6", "--name", name,
    )  # fmt: skip
    results = BENCHMARKS / "results" / f"{name}.json"
    try:
        assert done.returncode == 0, done.stderr
        rows = json.loads(results.read_text())["rows"]
    finally:
        results.unlink(missing_ok=True)
    assert [(r["row"], r["variant"]) for r in rows] == [
        ("fresh slice", "loop"), ("fresh slice", "hnas"), ("fixed slice", "loop"), ("fixed slice", "hnas"),
    ]  # fmt: skip
    assert all(r["evaluations_asked"] == 12 * 3 * 4 for r in rows)
    assert rows[3]["evaluations_made"] < rows[2]["evaluations_made"]
    assert all(r["ratio_over_loop"] > 0 for r in rows)


def test_a_folder_without_the_authors_code_is_told(tmp_path: Path) -> None:
    done = run(str(BENCHMARKS / "authors_code.py"), str(tmp_path))
    assert done.returncode == 1
    assert "expected a clone of the authors' code" in done.stderr
    assert "Traceback" not in done.stderr
