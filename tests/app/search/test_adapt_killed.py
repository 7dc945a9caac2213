"""`hnas adapt`, killed while it scores and called again: its files are those of a search that nobody touched."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import rounding
from PIL import Image

from hnas_app.cli import run

TINY = {
    "space.base_width": 4,
    "task.n_way": 2,
    "strategy.population": 12,
    "strategy.iterations": 3,
    "learner.inner_steps": 1,
    "learner.multi_step_loss": False,
    "meta_train.epochs": 1,
    "meta_train.iterations": 2,
    "meta_train.tasks": 2,
    "meta_train.shrink_start": 0,
    # Networks are scored 8 tasks at a time, losers not on all of them, and finalists on tasks that they had before.
    "search.tasks": 12,
    "search.pool": 16,
    "search.n_query": 2,
    "search.finalists": 4,
    "search.final_tasks": 14,
}
PROGRAM = """
import os, signal, sys
from hnas_app.cli import main
from hnas_app.trackers.json_lines import JsonLines

append = JsonLines.append

def append_and_die(self, value, **options):
    append(self, value, **options)
    left[0] -= self.path.name == name
    left[0] or os.kill(os.getpid(), signal.SIGKILL)

if __name__ == "__main__":
    name, left = sys.argv.pop(1), [int(sys.argv.pop(1))]
    JsonLines.append = append_and_die
    main()
"""
SWEEP = ("--constraint", "latency<=0.6ref", "--constraint", "params<=1ref")


@pytest.fixture(scope="module")
def supernet(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("trained") / "supernet"
    sets = [part for key, value in TINY.items() for part in ("--set", f"{key}={value}")]
    learner = f"{rounding.__file__}:Rounding"
    command = ["meta-train", "--preset", "none", "--workers", "1", "--learner", learner, "--run-dir", str(path)]
    assert run([*command, *sets]) == 0
    return path


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, ...]:
    """A task of two classes with five pictures each."""
    folder = tmp_path_factory.mktemp("pictures")
    for number in range(2):
        (folder / f"class{number}").mkdir()
        for i in range(5):
            image = Image.new("L", (28, 28), 255)
            image.paste(0, (4 + 3 * i, 4 + 8 * number, 8 + 3 * i, 18))
            image.save(folder / f"class{number}" / f"{i}.png")
    return ("--pictures", str(folder))


def searched(supernet: Path, runs: Path, *words: str, kill: tuple[str, int] | None = None) -> dict[str, bytes]:
    """Search in a copy of the super-net's run, with a kill after so many lines of a file; return the records."""
    shutil.copytree(supernet, runs / "supernet")
    if kill is not None:
        program = runs / "program.py"  # a file: worker processes import it
        program.write_text(PROGRAM)
        command = [sys.executable, program, kill[0], str(kill[1]), "adapt", runs / "supernet", *words]
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        done = subprocess.run(list(map(str, command)), capture_output=True, text=True, env=environment)
        assert done.returncode == -signal.SIGKILL, done.stderr
    # A run beside the super-net's is named to go on with it.
    began = [p for p in runs.iterdir() if p.is_dir() and p.name != "supernet"]
    resumed = ["adapt", str(began[0]), *words[len(SWEEP) if words[: len(SWEEP)] == SWEEP else 0 :]] if began else None
    assert run(resumed or ["adapt", str(runs / "supernet"), *words]) == 0
    names = ("search.jsonl", "adapt.json", "sweep.json", "task.json", "architecture.json")
    found = {p for name in names for p in runs.rglob(name)}
    here = str(runs).encode()  # sweep.json holds the super-net's folder
    records = {"/".join(p.relative_to(runs).parts[1:]): p.read_bytes().replace(here, b"") for p in found}
    # The checksum of sweep.json is over that folder, too.
    return {k: re.sub(b'"checksum": "[0-9a-f]+"', b"", v) if k == "sweep.json" else v for k, v in records.items()}


def check(supernet: Path, tmp_path: Path, *words: str, kill: tuple[str, int]) -> None:
    untouched = searched(supernet, tmp_path / "untouched", *words)
    assert len(untouched) >= 2
    assert searched(supernet, tmp_path / "killed", *words, kill=kill) == untouched


def test_a_search_that_was_killed_goes_on_to_the_last_bit(supernet: Path, tmp_path: Path) -> None:
    """With scores computed anew in other batches it differed in the ninth digit. Here it is killed in the finals."""
    check(supernet, tmp_path, "--workers", "1", kill=("search.jsonl", 3))


@pytest.mark.slow
@pytest.mark.parametrize("workers", ["1", "2"])
@pytest.mark.parametrize(
    "kill", [("scores.jsonl", 1), ("scores.jsonl", 15), ("scores.jsonl", 30), ("search.jsonl", 1), ("search.jsonl", 2)]
)
def test_wherever_it_is_killed(supernet: Path, tmp_path: Path, workers: str, kill: tuple[str, int]) -> None:
    check(supernet, tmp_path, "--workers", workers, kill=kill)


@pytest.mark.slow
@pytest.mark.parametrize("kill", [("scores.jsonl", 15), ("search.jsonl", 3), ("search.jsonl", 6)])
def test_searches_that_share_scores(supernet: Path, tmp_path: Path, kill: tuple[str, int]) -> None:
    check(supernet, tmp_path, *SWEEP, "--workers", "1", kill=kill)


@pytest.mark.slow
@pytest.mark.parametrize("kill", [("scores.jsonl", 15), ("search.jsonl", 2)])
def test_a_task_of_the_users_own(
    supernet: Path, tmp_path: Path, pictures: tuple[str, ...], kill: tuple[str, int]
) -> None:
    check(supernet, tmp_path, *pictures, "--workers", "1", kill=kill)
