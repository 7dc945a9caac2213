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


def printed(script: str, *arguments: str) -> str:
    """Return what a script that must succeed prints."""
    command = [sys.executable, str(BENCHMARKS / script), *arguments]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=120, env={**os.environ, "OMP_NUM_THREADS": "1"}
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture
def name() -> Iterator[str]:
    """Give a results name of this test's own; its file is removed afterwards."""
    name = f"test-{os.getpid()}"
    yield name
    (BENCHMARKS / "results" / f"{name}.json").unlink(missing_ok=True)


def test_meta_step_prints_rows_of_variants_that_agree(name: str) -> None:
    """The documented keys, the same meta-gradient in float64, and a file below results/ with what was printed."""
    shown = printed(
        "meta_step.py", "--configs", "omni5_w16", "--rows", "reference", "--orders", "second", "--tasks", "2",
        "--reps", "1", "--name", name, "--json",
    )  # fmt: skip
    content = json.loads(shown)
    rows = {row["variant"]: row for row in content["rows"]}
    assert {"loop", "hnas", "higher"} <= set(rows)
    keys = {"config", "variant", "order", "threads", "ratio_over_loop", "gflops_per_cpu_s", "share_of_peak"}
    assert keys <= set(rows["hnas"])
    assert rows["loop"]["ratio_over_loop"] == 1
    assert rows["hnas"]["disagreement"]["float64"] < 1e-6
    assert content["environment"]["cpu"]
    assert content["environment"]["packages"]["torch"]
    assert json.loads((BENCHMARKS / "results" / f"{name}.json").read_text()) == content


LEARNERS = {"meta-sgd", "alfa", "l2f", "alfa+l2f", "anil"}
LEARNERS |= {"prototypical", "matching", "siamese", "meta-baseline", "relation"}


def test_other_learners_are_measured_beside_themselves_in_plain_torch(name: str) -> None:
    """Their meta-gradients agree in float64, and each has its ratio over MAML++ of the same rounds."""
    shown = printed(
        "meta_step.py", "--configs", "omni5_w16", "--rows", "reference", "--learners",
        ",".join(sorted(LEARNERS)), "--tasks", "1", "--reps", "1", "--name", name, "--json",
    )  # fmt: skip
    rows = {row["variant"]: row for row in json.loads(shown)["rows"]}
    assert set(rows) == LEARNERS | {f"{learner}, plain" for learner in LEARNERS} | {"maml++"}
    for learner in LEARNERS:
        assert rows[learner]["disagreement"] < 1e-6
        assert rows[learner]["ratio_over_plain"] > 0
        assert rows[learner]["times_maml++"] > 0


def test_adapt_scores_both_ways_alike(name: str) -> None:
    """The project's score and the plain loop's are losses of the same networks on the same tasks."""
    shown = printed(
        "adapt.py", "--configs", "omni5_w16", "--rows", "reference", "--tasks", "2", "--reps", "1",
        "--name", name, "--json",
    )  # fmt: skip
    ours = json.loads(shown)["rows"][1]
    assert ours["variant"] == "hnas"
    assert ours["disagreement"] < 1e-3


@pytest.mark.slow
def test_whole_meta_batches_are_measured_in_worker_processes(name: str) -> None:
    shown = printed(
        "meta_step.py", "--configs", "omni5_w16", "--rows", "reference", "--reps", "1", "--workers", "2",
        "--name", name, "--json",
    )  # fmt: skip
    rows = json.loads(shown)["rows"]
    assert [(r["variant"], r.get("threads", r.get("workers"))) for r in rows] == [
        ("loop", 1), ("loop", 2), ("hnas", 1), ("hnas", 2),
    ]  # fmt: skip
    assert all(r["wall_ms"] > 0 for r in rows)
    assert rows[-1]["machine_scaling"] > 0


@pytest.mark.slow
def test_peak_memory_is_measured_in_a_fresh_worker(name: str) -> None:
    shown = printed("meta_step.py", "--configs", "omni5_w16", "--memory", "--name", name, "--json")
    one, eight = json.loads(shown)["rows"]
    assert (one["tasks"], eight["tasks"]) == (1, 8)
    assert 0.9 < eight["over_one_task"] < 8, "eight tasks at once take more, but most of a worker's memory is its own"


@pytest.mark.slow
def test_drawing_and_waiting_are_measured(name: str, tmp_path: Path) -> None:
    """Without data sets only the source that needs none."""
    printed("episodes.py", "--data-root", str(tmp_path), "--reps", "1", "--name", name, "--json")
    drawing, *waiting = json.loads((BENCHMARKS / "results" / f"{name}.json").read_text())["rows"]
    assert drawing["source"] == "glyphs"
    assert drawing["each_per_s"] > 0
    assert waiting
    assert all(
        0 < row["waited_ahead_ms"] < row["waited_drawn_ms"] < row["drawn_ms"] * row["workers"] for row in waiting
    )
