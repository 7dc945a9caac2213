"""A run directory is made and written under its lock: of two starts on one folder the second changes nothing."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
from pathlib import Path

import attrs
import pytest

from hnas.errors import DataError, DeviceError
from hnas.toolkit.files import read_json
from hnas_app.config.load import load_config
from hnas_app.config.schema import Config
from hnas_app.runs.making import copy_super_net, is_unused, removed_if_unused, reserved, resume_or_create
from hnas_app.runs.run_dir import RunDir

START = """
import sys
from pathlib import Path
from hnas.discovery import Registry
from hnas_app.config.load import load_config
from hnas_app.runs.making import reserved, resume_or_create
from hnas_app.runs.run_dir import RunDir
path = Path(sys.argv[1])
with reserved(RunDir(path)):
    print("reserved", flush=True)
    sys.stdin.readline()
    resume_or_create(path, load_config(Registry(), env={}).config)
    print("made", flush=True)
    sys.stdin.readline()
"""


@pytest.fixture
def config(toy_registry) -> Config:
    return load_config(toy_registry, env={}).config


def seeds(path: Path) -> tuple[int, int]:
    """Return the seed of a run by each of its two files that hold it."""
    return tomllib.loads((path / "config.toml").read_text())["seed"], read_json(path / "run.json")["seed"]


def test_of_two_starts_on_a_new_folder_the_second_changes_nothing(tmp_path, capfd):
    """Before the first has written a file, and while it works: the second would have left its own seed behind."""
    from hnas_app.cli import run as command_line

    path = tmp_path / "run"
    first = subprocess.Popen(
        [sys.executable, "-c", START, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert first.stdin is not None
    assert first.stdout is not None
    for told in ("reserved\n", "made\n"):
        assert first.stdout.readline() == told
        before = {p.name: p.read_bytes() for p in path.iterdir() if p.is_file()}
        words = ["--preset", "none", "--set", "space.base_width=4", "--workers", "1", "--seed", "1"]
        assert command_line(["meta-train", "--run-dir", str(path), *words]) == 3
        assert f"in use by process {first.pid}" in capfd.readouterr().err
        assert {p.name: p.read_bytes() for p in path.iterdir() if p.is_file()} == before
        first.stdin.write("\n")
        first.stdin.flush()
    assert first.wait(20) == 0
    assert seeds(path) == (0, 0)


@pytest.mark.slow
def test_races_for_a_new_folder_have_one_winner(tmp_path):
    words = ["meta-train", "--preset", "none", "--workers", "1", "--set", "space.base_width=4"]
    words += [w for key in ("epochs", "iterations", "tasks") for w in ("--set", f"meta_train.{key}=1")]
    for number in range(8):
        path = tmp_path / str(number)
        command = [sys.executable, "-m", "hnas", *words, "--run-dir", str(path), "--seed"]
        env = {**os.environ, "OMP_NUM_THREADS": "1"}
        both = [subprocess.Popen([*command, str(s)], stderr=subprocess.PIPE, text=True, env=env) for s in (0, 1)]
        told = [process.communicate(timeout=120)[1] for process in both]
        assert sorted(process.returncode for process in both) == [0, 3]
        winner = next(seed for seed, process in enumerate(both) if process.returncode == 0)
        assert seeds(path) == (winner, winner)
        assert "in use by process" in told[1 - winner] or "differs from that of the run" in told[1 - winner]


def test_a_folder_with_other_things_is_not_even_locked(tmp_path):
    (tmp_path / "thesis.txt").write_text("all of it")
    with pytest.raises(DataError, match="neither a run directory nor empty"), reserved(RunDir(tmp_path)):
        pass
    assert [p.name for p in tmp_path.iterdir()] == ["thesis.txt"]
    with pytest.raises(DataError, match="cannot make the run directory"), reserved(RunDir(tmp_path / "thesis.txt/run")):
        pass


def test_until_something_was_computed_a_run_takes_other_settings(config, tmp_path):
    """Its first phase failed or was killed: what the user corrects is not refused."""
    run = RunDir.create(config, path=tmp_path / "run")
    run.set_phase("profile", "done")
    run.set_phase("meta-train", "running")
    for name in (".lock", "metrics.jsonl", "profile.json", ".run.json.17.tmp"):
        (run.path / name).write_text("{}")
    again, notes = resume_or_create(run.path, config)
    assert (notes, again.is_done("profile")) == ([], True)
    other = attrs.evolve(config, seed=1)
    _, notes = resume_or_create(run.path, other)
    assert notes == [f"nothing was computed in {run.path} yet, so it takes the new settings"]
    assert seeds(run.path) == (1, 1)
    assert run.record()["phases"] == {}
    assert not {"metrics.jsonl", "profile.json"} & {p.name for p in run.path.iterdir()}


@pytest.mark.parametrize("left", ["checkpoints/meta-train/state-00000001.json", "search.jsonl", "notes.txt", "done"])
def test_a_run_that_holds_something_keeps_its_settings(config, tmp_path, left):
    run = RunDir.create(config, path=tmp_path / "run")
    assert is_unused(run)
    if left == "done":  # its checkpoints were deleted
        run.set_phase("meta-train", "done")
    else:
        (run.path / left).parent.mkdir(exist_ok=True)
        (run.path / left).write_text("{}")
    assert not is_unused(run)
    before = run.config_path.read_text()
    with pytest.raises(Exception, match="seed: 0 in the run, 1 now"):
        resume_or_create(run.path, attrs.evolve(config, seed=1))
    assert run.config_path.read_text() == before


@pytest.mark.parametrize(
    ("error", "phase", "stays"),
    [
        (DeviceError("no answer"), None, False),
        (DeviceError("no answer"), "profile", False),
        (DeviceError("no answer"), "adapt", True),
        (KeyboardInterrupt(), "profile", True),
        (ZeroDivisionError(), "profile", True),
    ],
)
def test_a_copy_that_came_to_nothing_is_removed(config, tmp_path, error, phase, stays):
    """An interrupted one is not: the command to go on with names it."""
    run, new = RunDir.create(config, path=tmp_path / "run"), RunDir(tmp_path / "new")
    (run.checkpoints / "meta-train").mkdir()

    def fail() -> None:
        with reserved(new), removed_if_unused(new.record_path, [new]):
            copy_super_net(run, new, config)
            assert new.phase("meta-train") == {"state": "done", "copied_from": str(run.path)}
            if phase:
                new.set_phase(phase, "stopped")
            raise error

    with pytest.raises(type(error)):
        fail()
    assert new.path.exists() == stays


def test_a_copy_that_was_stopped_half_way_is_removed(config, tmp_path, monkeypatch):
    run, new = RunDir.create(config, path=tmp_path / "run"), RunDir(tmp_path / "new")
    (run.checkpoints / "meta-train").mkdir()

    def stop(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(RunDir, "create", stop)
    with pytest.raises(KeyboardInterrupt), reserved(new), removed_if_unused(new.record_path, [new]):
        copy_super_net(run, new, config)
    assert not new.path.exists()
