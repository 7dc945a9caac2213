"""The benchmark scripts run as their README says, and refuse to time variants that disagree."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


def run(script: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(BENCHMARKS / script), *arguments]
    return subprocess.run(
        command, capture_output=True, text=True, timeout=120, env={**os.environ, "OMP_NUM_THREADS": "1"}
    )


@pytest.fixture
def name() -> Iterator[str]:
    """Give a results name of this test's own; its file is removed afterwards."""
    name = f"test-{os.getpid()}"
    yield name
    (BENCHMARKS / "results" / f"{name}.json").unlink(missing_ok=True)


def test_meta_step_prints_rows_of_variants_that_agree(name: str) -> None:
    """The documented keys, the same meta-gradient in float64, and a file below results/ with what was printed."""
    done = run(
        "meta_step.py", "--configs", "omni5_w16", "--rows", "reference", "--orders", "second", "--tasks", "2",
        "--reps", "1", "--name", name, "--json",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    content = json.loads(done.stdout)
    rows = {row["variant"]: row for row in content["rows"]}
    assert {"loop", "hnas", "higher"} <= set(rows)
    keys = {"config", "variant", "order", "threads", "ratio_over_loop", "gflops_per_cpu_s", "share_of_peak"}
    assert keys <= set(rows["hnas"])
    assert rows["loop"]["ratio_over_loop"] == 1
    assert rows["hnas"]["disagreement"]["float64"] < 1e-6
    assert content["environment"]["cpu"]
    assert content["environment"]["packages"]["torch"]
    assert json.loads((BENCHMARKS / "results" / f"{name}.json").read_text()) == content


def test_adapt_scores_both_ways_alike(name: str) -> None:
    """The project's score and the plain loop's are losses of the same networks on the same tasks."""
    done = run(
        "adapt.py", "--configs", "omni5_w16", "--rows", "reference", "--tasks", "2", "--reps", "1",
        "--name", name, "--json",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    ours = json.loads(done.stdout)["rows"][1]
    assert ours["variant"] == "hnas"
    assert ours["disagreement"] < 1e-3
