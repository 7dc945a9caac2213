"""`hnas run`, killed in each phase and run again: its files are those of a run which nobody touched, byte for byte."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from fnmatch import fnmatch
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
    "retrain.finalists": 2,
    "retrain.race_tasks": 12,
    "evaluate.tasks": 60,
}
# A checkpoint after every iteration: the kill falls between two of them, not before the first.
PROGRAM = """
import hnas_app.training.outer_loop as t
from hnas_app.cli import main

t.CHECKPOINT_SECONDS = t.REPORT_SECONDS = 0
main()
"""


@pytest.fixture(autouse=True)
def _no_signal_is_ignored() -> Iterator[None]:
    """Under ``nohup``, as a batch job's tests may be, a run would rightly ignore SIGHUP."""
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, before)


QUIET = PROGRAM.replace("= t.REPORT_SECONDS = 0", "= 1e9; t.REPORT_SECONDS = 0")  # no checkpoint is due
SETTINGS = [part for key, value in TINY.items() for part in ("--set", f"{key}={value}")]
LONG = ("--set", "meta_train.iterations=2000")  # a run that cannot end before it is heard of


def start(run: Path, program: str = PROGRAM, *workers: str) -> subprocess.Popen[str]:
    learner = f"{rounding.__file__}:Rounding"
    command = [sys.executable, "-c", program, "run", "--preset", "none", "--learner", learner, "--run-dir", str(run)]
    return subprocess.Popen(
        [*command, *SETTINGS, *(workers or ("--workers", "1"))],
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )


def finish(run: Path) -> dict[str, bytes]:
    """Let a run end, and return its records and checkpoints."""
    process = start(run)
    _, errors = process.communicate(timeout=300)
    assert process.returncode == 0, errors
    names = ("search.jsonl", "adapt.json", "race.json", "evaluate.json", "checkpoints/*/*")
    return {str(path.relative_to(run)): path.read_bytes() for name in names for path in run.glob(name)}


def wait_for(run: Path, phase: str, kind: str, process: subprocess.Popen[str], count: int) -> None:
    """Wait until a phase, or the phases of a pattern, have told ``count`` events of a kind."""
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and process.poll() is None:
        lines = (run / "metrics.jsonl").read_text().splitlines() if (run / "metrics.jsonl").exists() else []
        told = [json.loads(line) for line in lines if line.endswith("}")]
        if sum(fnmatch(t["phase"], phase) and t["kind"] == kind for t in told) >= count:
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
        ("retrain finalist-2", "step", 3),  # in the first heat of the race
        ("retrain*", "step", 32),  # in the second one, whoever runs it: five ran five iterations each in the first
        ("retrain scaled", "step", 15),
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
    assert hnas.load_run(tmp_path / "run").phases[phase.partition(" ")[0].rstrip("*")] == "stopped"
    assert finish(tmp_path / "run") == untouched
    steps: dict[str, list[int]] = {}
    for told in map(json.loads, (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()):
        if told["phase"].startswith("retrain") and "loss" in told.get("values", {}):
            steps.setdefault(told["phase"], []).append(told["done"])
    assert {"retrain", "retrain finalist-2", "retrain scaled"} < steps.keys()
    assert all(done == sorted(set(done)) for done in steps.values())  # no iteration is done twice


@pytest.mark.parametrize(
    ("sent", "workers"),
    [
        (signal.SIGTERM, ("--workers", "1")),
        pytest.param(signal.SIGINT, ("--workers", "2"), marks=pytest.mark.slow),
        pytest.param(signal.SIGTERM, ("--workers", "2"), marks=pytest.mark.slow),
        pytest.param(signal.SIGHUP, ("--workers", "2"), marks=pytest.mark.slow),
        pytest.param(signal.SIGUSR1, ("--workers", "2", "--executor", "threads"), marks=pytest.mark.slow),
    ],
)
def test_an_interrupted_run_has_saved_all_it_did(sent: int, workers: tuple[str, ...], tmp_path: Path) -> None:
    """It says how to go on, and no process of it is left, though all got the signal, and more than once."""
    run = tmp_path / "a run"
    process = start(run, QUIET, *workers, *LONG)
    wait_for(run, "meta-train", "step", process, 4)
    assert hnas.load_run(run).phases["meta-train"] == "running"
    for _ in range(3):
        os.killpg(process.pid, sent)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130, errors
    told = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    (saved,) = (run / "checkpoints" / "meta-train").glob("state-*.json")
    assert int(saved.stem.split("-")[1]) >= max(t["done"] for t in told if t["phase"] == "meta-train")
    assert errors.endswith(f"interrupted\nto go on: hnas run --run-dir '{run}'\n")
    assert "Traceback" not in errors
    assert "died" not in errors
    wait_for_none(process.pid)


@pytest.mark.slow
def test_a_run_whose_terminal_is_closed_has_saved_all_it_did(tmp_path: Path) -> None:
    """Nothing can be printed any more, which must not be what it ends with."""
    run = tmp_path / "run"
    command = [
        sys.executable,
        "-c",
        QUIET,
        "run",
        "--preset",
        "none",
        "--workers",
        "1",
        "--run-dir",
        str(run),
        *SETTINGS,
        *LONG,
    ]
    pid, terminal = pty.fork()
    if pid == 0:
        os.execv(sys.executable, command)
    deadline, told = time.monotonic() + 120, b""
    while told.count(b"loss") < 8 and time.monotonic() < deadline:
        told += os.read(terminal, 1 << 16)
    os.close(terminal)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 130
    assert hnas.load_run(run).phases["meta-train"] == "stopped"
    assert list((run / "checkpoints" / "meta-train").glob("state-*.json"))


@pytest.mark.slow
def test_nohup_keeps_a_run_alive(tmp_path: Path) -> None:
    """It ignores SIGHUP before the command starts."""
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        process = start(tmp_path / "run")
    finally:
        signal.signal(signal.SIGHUP, before)
    wait_for(tmp_path / "run", "profile", "start", process, 1)
    process.send_signal(signal.SIGHUP)
    wait_for(tmp_path / "run", "meta-train", "step", process, 2)
    process.kill()
    process.communicate()


def wait_for_none(group: int) -> None:
    """Wait until no process of a group is left."""
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        try:
            os.killpg(group, 0)
        except ProcessLookupError:
            return
        time.sleep(0.02)
    raise AssertionError("a process is left")
