"""`hnas run`, killed in each phase and run again: its files are those of a run which nobody touched, byte for byte."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import rounding

import hnas

TINY = {
    "space.base_width": 4,
    "task.n_way": 2,
    "strategy.population": 16,
    "strategy.iterations": 4,
    "learner.inner_steps": 2,
    "learner.first_order_epochs": 1,
    "meta_train.epochs": 2,
    "meta_train.iterations": 20,
    "meta_train.tasks": 2,
    "meta_train.shrink_start": 1,
    "meta_train.validate_every": 2,
    # Networks are scored 8 tasks at a time, losers not on all of them, and some again on tasks that others had.
    "search.tasks": 12,
    "search.pool": 20,
    "search.final_tasks": 15,
    "search.n_query": 3,
    "retrain.epochs": 2,
    "retrain.iterations": 20,
    "retrain.tasks": 2,
    "evaluate.tasks": 60,
}
# A checkpoint after every iteration: the kill falls between two of them, not before the first.
PROGRAM = """
import hnas_app.training.outer_loop as t
from hnas_app.cli import main

t.CHECKPOINT_SECONDS = t.REPORT_SECONDS = 0
main()
"""


def start(run: Path) -> subprocess.Popen[str]:
    settings = [part for key, value in TINY.items() for part in ("--set", f"{key}={value}")]
    learner = f"{rounding.__file__}:Rounding"
    command = [sys.executable, "-c", PROGRAM, "run", "--preset", "none", "--workers", "1", "--learner", learner]
    command += ["--run-dir", str(run)]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return subprocess.Popen([*command, *settings], text=True, **pipes)  # type: ignore[call-overload, no-any-return]


def finish(run: Path) -> dict[str, bytes]:
    """Let a run end, and return its records and checkpoints."""
    process = start(run)
    _, errors = process.communicate(timeout=300)
    assert process.returncode == 0, errors
    names = ("search.jsonl", "adapt.json", "evaluate.json", "checkpoints/*/*")
    return {str(path.relative_to(run)): path.read_bytes() for name in names for path in run.glob(name)}


def wait_for(run: Path, phase: str, kind: str, process: subprocess.Popen[str], count: int) -> None:
    """Wait until a phase has told ``count`` events of a kind."""
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and process.poll() is None:
        lines = (run / "metrics.jsonl").read_text().splitlines() if (run / "metrics.jsonl").exists() else []
        told = [json.loads(line) for line in lines if line.endswith("}")]
        if sum(t["phase"] == phase and t["kind"] == kind for t in told) >= count:
            return
        time.sleep(0.005)
    raise AssertionError(f"the run ended (code {process.poll()}) before {phase} told {count} events of kind {kind}")


@pytest.fixture(scope="module")
def untouched(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    return finish(tmp_path_factory.mktemp("runs") / "untouched")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("phase", "kind", "count"),
    [
        ("profile", "start", 1),
        ("meta-train", "step", 9),
        ("adapt", "step", 2),
        ("adapt", "step", 4),
        ("retrain", "step", 9),
        ("evaluate", "step", 1),
    ],
)
def test_a_run_killed_in_any_phase_ends_as_if_it_had_not_been(
    phase: str, kind: str, count: int, tmp_path: Path, untouched: dict[str, bytes]
) -> None:
    """A resume that repeats, skips or reorders anything changes a weight, and with it a number of the result."""
    process = start(tmp_path / "run")
    wait_for(tmp_path / "run", phase, kind, process, count)
    process.kill()
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    assert not (tmp_path / "run" / "evaluate.json").exists()
    assert hnas.load_run(tmp_path / "run").phases[phase] == "stopped"
    assert finish(tmp_path / "run") == untouched


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_says_how_to_go_on(sent: int, tmp_path: Path) -> None:
    """A user who stops a run must not have to find out how to continue it; nor a batch system's log reader."""
    process = start(tmp_path / "run")
    wait_for(tmp_path / "run", "meta-train", "step", process, 2)
    assert hnas.load_run(tmp_path / "run").phases["meta-train"] == "running"
    os.kill(process.pid, sent)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert f"to go on: hnas run --run-dir {tmp_path / 'run'}" in errors
    assert "Traceback" not in errors
