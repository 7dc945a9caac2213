"""space.classifier=shared from end to end: one super-net of 4-way training for tasks and pictures of any number."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny_runs
import torch
from PIL import Image

import hnas
from hnas_app.cli import run as command_line
from hnas_app.training.checkpoint import load_latest
from hnas_app.training.meta_train import PHASE

TINY: dict[str, Any] = {
    **tiny_runs.TINY,
    "space.classifier": "shared",
    "learner.inner_steps": 2,
    "meta_train.n_way": 4,
}


@pytest.fixture(scope="module", params=["vgg9", "resnet12"])
def trained(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run whose super-net was trained with tasks of four classes, for those of three."""
    run: Any = hnas.run(
        space=request.param,
        tasks="tiny_tasks:TinyTasks",
        backend="tiny_board:TinyBoard",
        preset="none",
        constraints="params<=1M",
        settings=TINY,
        run_dir=tmp_path_factory.mktemp("trained") / "run",
        workers=1,
        until="meta-train",
    )
    path: Path = run.path
    return path


def adapted(path: Path, *words: object) -> tuple[int, list[Path]]:
    """Run ``hnas adapt`` on a run; return its code and the new runs beside it."""
    before = set(path.parent.iterdir())
    code = command_line([str(w) for w in ("adapt", path, "--workers", "1", *words)])
    return code, sorted(set(path.parent.iterdir()) - before)


def state_of(run: Path, phase: str = PHASE) -> dict[str, torch.Tensor]:
    found = load_latest(run / "checkpoints" / phase, "state")
    assert found is not None
    return found[0]


def draw(root: Path, classes: int, shots: int) -> Path:
    """Draw a bar of each class at a place of its own."""
    for label in range(classes):
        (root / f"bar {label}").mkdir(parents=True)
        for i in range(shots):
            paper = np.random.default_rng((label, i)).integers(0, 60, (16, 16), dtype=np.uint8)
            paper[:, 2 * label : 2 * label + 2] = 255
            Image.fromarray(paper).save(root / f"bar {label}" / f"{i}.png")
    return root


@pytest.mark.parametrize("start", ["scratch", "supernet"])
def test_one_super_net_serves_seven_classes_in_every_phase(trained: Path, start: str) -> None:
    code, (seven,) = adapted(trained, "--set", "task.n_way=7", "--set", f"retrain.start={start}")
    assert code == 0
    run = hnas.load_run(seven)
    run.retrain()
    assert "7-way 1-shot" in run.evaluate().protocol
    alone = [p.name for p in (seven / "checkpoints").glob("retrain-*")]
    assert alone
    one, two = state_of(trained), state_of(seven)
    assert all(torch.equal(one[k], two[k]) for k in one)
    assert {len(state["params/fc.bias"]) for state in (one, *(state_of(seven, phase) for phase in alone))} == {1}
    rows = {key for key in run.profile().rows if "linear" in key}
    assert rows
    assert all("7x1x1" in key for key in rows), rows  # the device runs an output for each class


def test_a_run_of_the_other_head_does_not_start_from_it(trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert adapted(trained, "--set", "space.classifier=own") == (3, [])
    told = capsys.readouterr().err
    assert "space.classifier: 'shared' in the run, 'own' now" in told
    assert "--set space.classifier=own" in told


@pytest.mark.slow
@pytest.mark.parametrize("classes", [2, 6])
def test_pictures_of_fewer_and_of_more_classes(trained: Path, tmp_path: Path, classes: int) -> None:
    code, (made,) = adapted(trained, "--pictures", draw(tmp_path / "bars", classes, 2), "--retrain")
    assert code == 0
    task = json.loads((made / "task.json").read_text())
    assert (len(task["classes"]), task["held_out"]["of"]) == (classes, 2 * classes)
    exported = json.loads((made / "export" / "architecture.json").read_text())
    assert exported["layers"][-1]["out_shape"] == [classes, 1, 1]
    assert len(state_of(made)["params/fc.bias"]) == 1
    hnas.load_run(trained).adapt()
    other = hnas.load_run(trained).export(tmp_path / "out", pictures=draw(tmp_path / "five", 5, 1))
    assert other.model.difference < 1e-4


@pytest.mark.slow
@pytest.mark.parametrize("classes", [2, 7, 12])
def test_pictures_of_unequal_numbers(
    trained: Path, tmp_path: Path, classes: int, capsys: pytest.CaptureFixture[str]
) -> None:
    """Raw pixels are tested beside the network, on the same pictures; a class of one picture holds none out."""
    pictures = draw(tmp_path / "bars", classes, 3)
    shots = [1 + (label + 2) % 3 for label in range(classes)]  # 3, 1, 2, 3, …
    for folder, count in zip(sorted(pictures.iterdir()), shots, strict=True):
        for i in range(count, 3):
            (folder / f"{i}.png").unlink()
    code, (made,) = adapted(trained, "--pictures", pictures)
    told = capsys.readouterr()
    assert code == 0, told.err
    task = json.loads((made / "task.json").read_text())
    assert task["shots"] == shots
    tested = sum(count for count in shots if count > 1)
    assert task["held_out"]["of"] == sum(map(sum, task["confusion"])) == tested
    assert [rival["held_out"]["of"] for rival in task["rivals"]] == [tested] * 3
    assert "the only labelled picture of" in told.err
    for part in (
        "pixels: nearest class mean",
        "pixels: logistic regression",
        "held-out pictures of each class",
    ):
        assert part in told.out
    assert json.loads((made / "pictures.json").read_text())["classes"] == task["classes"]
