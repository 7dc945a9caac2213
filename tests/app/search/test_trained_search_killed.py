"""`hnas adapt` with a strategy that trains its candidates, killed and called again: as if nobody had touched it."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import auto_meta
import pytest
from PIL import Image

from hnas_app.cli import run

pytestmark = pytest.mark.slow
TINY = {
    "space.base_width": 4,
    "task.n_way": 2,
    "strategy.train": 3,
    "learner.inner_steps": 1,
    "learner.multi_step_loss": False,
    "meta_train.epochs": 1,
    "meta_train.iterations": 2,
    "meta_train.tasks": 2,
    "meta_train.shrink_start": 0,
    "search.tasks": 4,
    "search.pool": 8,
    "search.n_query": 2,
    "search.finalists": 2,
    "search.final_tasks": 6,
    "retrain.epochs": 2,
    "retrain.iterations": 3,
    "retrain.tasks": 2,
}
PROGRAM = """
import os, signal, sys
from hnas_app.cli import main
from hnas_app.search import score_store
from hnas_app.training import short

def dying(module, name):
    whole = getattr(module, name)
    def call(*given, **options):
        found = whole(*given, **options)
        left[0] -= 1
        left[0] or os.kill(os.getpid(), signal.SIGKILL)
        return found
    setattr(module, name, call)

if __name__ == "__main__":
    kind, left = sys.argv.pop(1), [int(sys.argv.pop(1))]
    dying(*{"trained": (short, "save_checkpoint"), "scored": (score_store, "_line")}[kind])
    main()
"""


@pytest.fixture(scope="module")
def supernet(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("trained") / "supernet"
    settings = {**TINY, "strategy.name": f"{auto_meta.__file__}:AutoMeta"}
    sets = [part for key, value in settings.items() for part in ("--set", f"{key}={value}")]
    command = ["meta-train", "--preset", "none", "--workers", "1", "--run-dir", str(path)]
    assert run([*command, *sets]) == 0
    return path


def searched(supernet: Path, runs: Path, workers: int, kill: tuple[str, int] | None = None) -> dict[str, bytes]:
    path = shutil.copytree(supernet, runs / "supernet")
    if kill is not None:
        program = runs / "program.py"
        program.write_text(PROGRAM)
        words = [sys.executable, program, kill[0], kill[1], "adapt", path, "--workers", workers]
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        done = subprocess.run(list(map(str, words)), capture_output=True, text=True, env=environment)
        assert done.returncode == -signal.SIGKILL, done.stderr
    assert run(["adapt", str(path), "--workers", str(workers)]) == 0
    found = {name: (path / name).read_bytes() for name in ("search.jsonl", "adapt.json")}
    return found | {p.name: p.read_bytes() for p in path.glob("checkpoints/search/*.safetensors")}


@pytest.fixture(scope="module")
def untouched(supernet: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    return searched(supernet, tmp_path_factory.mktemp("untouched"), 1)


@pytest.mark.parametrize("kill", [("trained", 2), ("scored", 3), ("trained", 6)])
def test_a_search_that_was_killed_goes_on_to_the_last_bit(
    supernet: Path, untouched: dict[str, bytes], tmp_path: Path, kill: tuple[str, int]
) -> None:
    assert len(untouched) == 2 + 3 * 4
    assert searched(supernet, tmp_path, 1, kill) == untouched


@pytest.mark.parametrize("kill", [None, ("trained", 3)])
def test_with_two_workers_it_is_the_same(
    supernet: Path, untouched: dict[str, bytes], tmp_path: Path, kill: tuple[str, int] | None
) -> None:
    assert searched(supernet, tmp_path, 2, kill) == untouched


def test_searches_for_several_limits_train_a_network_once(supernet: Path, tmp_path: Path) -> None:
    path = shutil.copytree(supernet, tmp_path / "supernet")
    limits = ("--constraint", "latency<=0.6ref", "--constraint", "params<=1ref")
    assert run(["adapt", str(path), *limits, "--workers", "1"]) == 0
    (folder,) = (p for p in tmp_path.iterdir() if "sweep" in p.name)
    told = [line for trace in folder.glob("*/search.jsonl") for line in trace.read_text().splitlines()]
    asked = {tuple(genes) for line in map(json.loads, told) for genes in line["genes"]}
    assert len(list((folder / "checkpoints" / "search").glob("*.json"))) == len(asked) < 2 * 3 * 4 + 1
    assert all(json.loads((p / "adapt.json").read_text())["finalists"][0]["train"] == 3 for p in folder.glob("0*"))


def test_the_result_says_how_it_was_found(supernet: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = shutil.copytree(supernet, tmp_path / "supernet")
    assert run(["evaluate", str(path), "--workers", "1"]) == 0
    seen = capsys.readouterr()
    assert "by loss after 3 iterations of training" in seen.out
    assert "short training: started" in seen.err
    assert run(["adapt", str(path), "--set", "strategy.train=7"]) == 4
    assert "train=7, expected 0 to 6" in capsys.readouterr().err


def test_networks_for_pictures_are_not_trained(
    supernet: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Their tasks are the user's own few pictures, on which they are judged as well."""
    for name, left in (("a", 4), ("b", 14)):
        (tmp_path / "pictures" / name).mkdir(parents=True)
        for i in range(3):
            image = Image.new("L", (28, 28), 255)
            image.paste(0, (left + i, 6, left + i + 6, 20))
            image.save(tmp_path / "pictures" / name / f"{i}.png")
    path = shutil.copytree(supernet, tmp_path / "supernet")
    assert run(["adapt", str(path), "--pictures", str(tmp_path / "pictures")]) == 4
    told = capsys.readouterr().err
    assert "train=3, expected 0 to 0" in told
    assert "a user's own pictures are scored with the super-net's weights only" in told
    assert run(["adapt", str(path), "--pictures", str(tmp_path / "pictures"), "--set", "strategy.train=0"]) == 0
