"""The learners that compare features in every command: whole runs on small tasks, pictures, exports and sweeps."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_runs import MORE_CLASSES, draw

import hnas
from hnas import ConfigError, HnasError
from hnas_app.cli import run as command_line
from hnas_app.training.checkpoint import load_latest

LEARNERS: dict[str, dict[str, Any]] = {
    "prototypical": {},
    "matching": {},
    "relation": {},
    "siamese": {},
    "meta-baseline": {},
    "deepemd": {"learner.solver": "sinkhorn"},
}


def start(path: Path, learner: str, *, until: Any = "evaluate", workers: int = 1, **more: Any) -> Any:
    return hnas.run(
        space="vgg9",
        learner=learner,
        tasks="tiny_tasks:TinyTasks",
        backend="tiny_board:TinyBoard",
        preset="none",
        constraints="params<=1M",
        settings={**MORE_CLASSES, "space.pool": 2, **more},
        run_dir=path,
        workers=workers,
        until=until,
    )


def trained(path: Path) -> dict[str, torch.Tensor]:
    found = load_latest(path / "checkpoints" / "meta-train", "state")
    assert found is not None
    return found[0]


@pytest.mark.slow
@pytest.mark.parametrize("learner", LEARNERS)
def test_every_command_works(learner: str, tmp_path: Path, capsys: Any) -> None:
    """A run is stopped and goes on with two workers; it has the bits of one that did neither."""
    more = LEARNERS[learner]
    start(tmp_path / "stopped", learner, until="meta-train", **more)
    results = start(tmp_path / "stopped", learner, workers=2, **more).results
    at_once = start(tmp_path / "at-once", learner, workers=2, **more)
    one, two = trained(tmp_path / "stopped"), trained(tmp_path / "at-once")
    assert one.keys() == two.keys()
    assert [k for k in one if not torch.equal(one[k], two[k])] == []
    assert results == at_once.results
    assert results.networks[0].inference.stored > 0
    exported = at_once.export()
    assert exported.model.difference < 1e-4
    pairs = ["--constraint", "params<=1M", "--constraint", "macs<=100M"]
    assert command_line(["adapt", str(at_once.path), "--workers", "1", *pairs]) == 0
    assert command_line(["evaluate", str(at_once.path)]) == 0
    assert "stored_B" in capsys.readouterr().out
    made = tmp_path / "own"
    words = ["adapt", str(at_once.path), "--workers", "1", "--pictures", str(draw(made, 4, 2)), "--retrain"]
    assert command_line([*words, "--export", str(tmp_path / "model.onnx")]) == 0
    task = json.loads(next(p for p in tmp_path.glob("*/task.json")).read_text())
    assert len(task["classes"]) == 4


@pytest.mark.slow
def test_exact_transport_is_not_exported(tmp_path: Path, required_module: Any) -> None:
    required_module("ot")
    run = start(tmp_path / "run", "deepemd", until="adapt")
    with pytest.raises(ConfigError, match="transport problem for each image") as told:
        run.export()
    assert "learner.solver=sinkhorn" in str(told.value.hint)


def test_no_shots_are_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(HnasError, match="k_shot"):
        start(tmp_path / "run", "prototypical", **{"task.k_shot": 0})
    assert not (tmp_path / "run").exists()


def test_a_class_without_pictures_is_refused_by_name(tmp_path: Path, capsys: Any) -> None:
    run = start(tmp_path / "run", "prototypical", until="meta-train")
    folder = draw(tmp_path / "own", 3, 2)
    for picture in (folder / "bar 1").iterdir():
        picture.unlink()
    assert command_line(["adapt", str(run.path), "--workers", "1", "--pictures", str(folder)]) != 0
    assert "bar 1" in capsys.readouterr().err
