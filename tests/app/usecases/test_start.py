"""Nothing is made before a command can start: wrong limits, absent devices and impossible outputs are told first."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import hnas
from hnas_app.cli import run as command_line

TINY: dict[str, Any] = {
    "space.base_width": 4,
    "space.ge": False,
    "space.anl": False,
    "learner.inner_steps": 1,
    "task.n_way": 2,
    "strategy.population": 4,
    "strategy.iterations": 1,
    "meta_train.epochs": 1,
    "meta_train.iterations": 1,
    "meta_train.tasks": 1,
    "search.tasks": 2,
    "search.pool": 4,
    "search.n_query": 2,
    "search.final_tasks": 2,
    "retrain.epochs": 1,
    "retrain.iterations": 1,
    "retrain.tasks": 1,
    "evaluate.tasks": 2,
}
NAMES = {"tasks": "tiny_tasks:TinyTasks", "backend": "tiny_board:TinyBoard", "preset": "none"}
WORDS = [w for k, v in NAMES.items() for w in (f"--{k}", v)] + [
    w for k, v in TINY.items() for w in ("--set", f"{k}={v}")
]
WRONG = [
    ("energy<=5", 3, "unknown metric 'energy'"),
    ("latency<=3mJ", 3, "unit 'mJ' is not possible"),
    ("latency<3ms", 3, "a limit is inclusive"),
    ("params<=1", 5, "no architecture of vgg9 satisfies params<=1: the smallest params"),
    ("latency<=1ms,macs<=0.001ref", 5, "satisfies macs<=0.001ref"),
]
"""Limits that are known to be wrong before anything is measured."""
TOO_LOW = "latency<=0.001ns"
"""One that is known to be out of reach when the device was profiled."""
BROKEN = """
from hnas.errors import DeviceError
from tiny_board import TinyBoard
class Board(TinyBoard):
    def {method}(self, *_):
        raise DeviceError("no answer")
"""


@pytest.fixture(scope="module")
def super_net(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return hnas.run(run_dir=tmp_path_factory.mktemp("r") / "run", settings=TINY, until="adapt", **NAMES).path


@pytest.fixture
def run(super_net: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A run whose search is done, alone in a folder that is the working one."""
    monkeypatch.chdir(tmp_path)
    return shutil.copytree(super_net, tmp_path / "runs" / "run")


def names(folder: Path) -> list[str]:
    return sorted(p.name for p in folder.iterdir()) if folder.is_dir() else []


@pytest.mark.parametrize(("limits", "code", "told"), WRONG)
def test_a_limit_that_is_known_to_be_wrong_makes_no_folder(run, capsys, monkeypatch, limits, code, told):
    def measure(*_: object) -> None:
        raise AssertionError("measured")

    monkeypatch.setattr("tiny_board.TinyBoard.measure", measure)
    for command in (["run", *WORDS, "--run-dir", "runs/new"], ["run", *WORDS], ["adapt", str(run)]):
        assert command_line([*command, "--workers", "1", "--constraint", limits]) == code
        assert told in capsys.readouterr().err
    sweep = ["--constraint", "macs<=1ref", "--constraint", limits]
    assert command_line(["adapt", str(run), "--workers", "1", *sweep]) == code
    assert told in capsys.readouterr().err
    assert names(run.parent) == ["run"]


def test_the_corrected_command_goes_on_in_the_folder_of_the_one_that_failed(run, capsys):
    """An unreachable latency is known when the device was measured; the folder is there by then."""
    command = ["run", *WORDS, "--workers", "1", "--run-dir", "runs/new", "--constraint"]
    assert command_line([*command, TOO_LOW]) == 5
    assert names(run.parent) == ["new", "run"]
    assert command_line([*command, "energy<=5"]) == 3
    with pytest.raises(hnas.DataError, match="no results yet"):
        _ = hnas.load_run("runs/new").results
    capsys.readouterr()
    made = hnas.run(run_dir="runs/new", settings=TINY, constraints="latency<=0.9ref", until="meta-train", **NAMES)
    assert made.phases == {"meta-train": "done"}
    assert "latency<=0.9ref" in (made.path / "config.toml").read_text()
    assert command_line([*command, "latency<=0.8ref"]) == 3  # now it holds something
    assert "constraints: ['latency<=0.9ref'] in the run, ['latency<=0.8ref'] now" in capsys.readouterr().err


def test_a_folder_that_hnas_named_is_removed_when_the_command_failed(run, capsys):
    commands = [["run", *WORDS], ["adapt", str(run)], ["adapt", str(run), "--constraint", "macs<=1ref"]]
    for command in commands:
        assert command_line([*command, "--workers", "1", "--constraint", TOO_LOW]) == 5
        assert "no architecture of vgg9 satisfies" in capsys.readouterr().err
    with pytest.raises(hnas.InfeasibleError) as caught:
        hnas.run(settings=TINY, constraints=TOO_LOW, until="adapt", **NAMES)
    assert not any("to go on" in note for note in caught.value.__notes__)
    assert names(run.parent) == ["run"]


@pytest.mark.parametrize("method", ["describe", "measure"])
def test_a_device_that_does_not_answer_leaves_no_folder(run, capsys, tmp_path, method):
    (tmp_path / f"no_{method}.py").write_text(BROKEN.format(method=method))
    board = ["--workers", "1", "--backend", f"{tmp_path}/no_{method}.py:Board"]
    for command in (["run", *WORDS], ["adapt", str(run)], ["adapt", str(run), "--backend", "eyeriss"]):
        assert command_line([*command, *board]) == 6
        assert "no answer" in capsys.readouterr().err
    assert names(run.parent) == ["run"]


def test_tasks_without_data_make_no_folder(run, capsys):
    command = ["--tasks", "omniglot", "--data-root", "nowhere", "--workers", "1", "--run-dir", "runs/new"]
    for phase in ("run", "meta-train"):
        assert command_line([phase, *command]) == 3
        assert "nowhere" in capsys.readouterr().err
    assert names(run.parent) == ["run"]


def outputs(run: Path, path: str) -> list[list[str]]:
    """Return the commands that write into a file, or into a folder, that the user names."""
    commands = [
        ["adapt", str(run), "--pictures", "bars", "--export", path],
        ["front", str(run), "--out", path],
        ["profile", "export", path],
    ]
    return commands


def draw() -> None:
    for label in range(2):
        Path("bars", str(label)).mkdir(parents=True)
        Image.fromarray(np.full((8, 8), 200 * label, np.uint8)).save(Path("bars", str(label), "a.png"))


@pytest.mark.parametrize(
    ("path", "told"),
    [
        ("nodir/out", "nodir is not a folder"),
        ("file.txt/out", "file.txt is not a folder"),
        ("folder", "is a folder, expected a file"),
        ("closed/out", "no file can be written in closed: permission denied"),
    ],
)
def test_an_output_that_cannot_be_written_is_told_before_the_work(run, capsys, monkeypatch, tmp_path, path, told):
    draw()
    for folder in ("folder.onnx", "folder.png", "folder.json", "closed"):
        Path(folder).mkdir()
    Path("file.txt").touch()
    access = os.access
    monkeypatch.setattr("os.access", lambda p, mode: "closed" not in str(p) and access(p, mode))  # root may do anything
    before = names(tmp_path)
    for ending, command in zip((".onnx", ".png", ".json"), outputs(run, path), strict=True):
        assert command_line([*command[:-1], path + ending]) == 2
        assert told in capsys.readouterr().err.replace(path + ending, path)
    assert (names(tmp_path), names(run.parent)) == (before, ["run"])


def test_a_model_has_the_ending_of_one(run, capsys):
    draw()
    assert command_line(["adapt", str(run), "--pictures", "bars", "--export", "model.pt"]) == 2
    assert "--export: model.pt is neither .onnx" in capsys.readouterr().err
    assert names(run.parent) == ["run"]


def test_without_the_packages_no_model_is_searched_for(run, capsys, monkeypatch):
    draw()
    monkeypatch.setattr("hnas_app.export.onnx_file.NEEDED", ("no_such_package",))
    assert command_line(["adapt", str(run), "--pictures", "bars", "--export", "model.onnx"]) == 3
    assert "pip install 'hnas[onnx]'" in capsys.readouterr().err
    assert names(run.parent) == ["run"]


def test_a_folder_for_an_export_that_cannot_be_made_is_told_first(run, capsys):
    Path("file.txt").touch()
    assert command_line(["export", str(run), "--out", "file.txt/deep/out"]) == 2
    told = capsys.readouterr().err
    assert "Invalid value for --out: " in told
    assert "file.txt is not a folder" in told
