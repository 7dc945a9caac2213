"""Sweeps, fronts, exports and own pictures from Python: what the commands do, with typed results."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from tiny_board import TinyBoard
from tiny_tasks import TinyTasks

import hnas
from hnas.toolkit.codec import to_json
from hnas_app.cli import run as command_line
from hnas_app.export.onnx_session import OnnxModel
from hnas_plugins.spaces.vgg9 import VGG9, VGG9Options

SETTINGS: dict[str, Any] = {
    "task.n_way": 3,
    "learner.inner_steps": 1,
    "strategy.population": 6,
    "strategy.iterations": 2,
    "meta_train.epochs": 1,
    "meta_train.iterations": 2,
    "meta_train.tasks": 2,
    "meta_train.validate_tasks": 2,
    "search.tasks": 2,
    "search.pool": 8,
    "search.n_query": 2,
    "search.final_tasks": 4,
    "evaluate.n_query": 2,
}
LIMITS = ("latency<=0.6ref", "params<=1ref,macs<=0.5ref")


@pytest.fixture(scope="module")
def searched(tmp_path_factory: pytest.TempPathFactory) -> hnas.Run:
    """A run whose search is done, with plugins by name, so that the command line can go on with it."""
    return hnas.run(
        space="vgg9",
        tasks="tiny_tasks:TinyTasks",
        backend="tiny_board:TinyBoard",
        preset="none",
        settings={**SETTINGS, "space.base_width": 4},
        run_dir=tmp_path_factory.mktemp("runs") / "run",
        until="adapt",
    )


def printed(capsys: pytest.CaptureFixture[str], *words: object) -> Any:
    """Return what a command prints as JSON."""
    capsys.readouterr()
    assert command_line([*map(str, words), "--workers", "1", "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def draw(root: Path, classes: int, shots: int) -> Path:
    """Draw bars in dark ink on white paper, at a place that tells the class."""
    generator = np.random.default_rng(0)
    for label in range(classes):
        (root / f"bar {label}").mkdir(parents=True)
        for i in range(shots):
            paper = np.full((24, 24), 255, np.uint8)
            paper[:, 5 * label + 2 : 5 * label + 6] = generator.integers(0, 60, (24, 4))
            Image.fromarray(paper).save(root / f"bar {label}" / f"{i}.png")
    return root


def test_the_number_of_workers_may_stand_in_the_settings(searched, tmp_path):
    """The default of the argument won, unsaid."""
    for run in (
        searched.branch(constraints="params<=1K", settings={"workers": 2}),
        hnas.run(settings={"workers": 2}, run_dir=tmp_path / "run", until=None),
    ):
        assert "\nworkers = 2\n" in (run.path / "config.toml").read_text()
    with pytest.raises(hnas.ConfigError, match="workers is given twice, as 2 and as 3"):
        hnas.run(settings={"workers": 2}, workers=3, run_dir=tmp_path / "other", until=None)


def test_a_sweep_finds_what_the_command_finds(searched, capsys):
    backends = ("tiny_board:TinyBoard", "eyeriss")
    capsys.readouterr()
    done = searched.sweep(backends=backends, constraints=LIMITS)
    assert capsys.readouterr() == ("", "")
    assert done.path.parent == searched.path.parent
    assert len(done.record.pairs) == 4
    words = [word for backend in backends for word in ("--backend", backend)]
    words += [word for limits in LIMITS for word in ("--constraint", limits)]
    assert printed(capsys, "adapt", searched.path, *words) == to_json(done.record)
    pair = done.record.pairs[1]
    assert pair.found is not None
    assert hnas.load_run(done.path / pair.name).adapt().chosen.arch == pair.found.arch


def test_a_sweep_that_was_stopped_goes_on_to_the_same_end(searched):
    def stop(event: hnas.Event) -> None:
        if event.phase == "adapt" and event.kind == "step":
            raise KeyboardInterrupt

    before = set(searched.path.parent.iterdir())
    with pytest.raises(KeyboardInterrupt) as caught:
        hnas.load_run(searched.path, on_event=stop).sweep(constraints=LIMITS)
    (folder,) = set(searched.path.parent.iterdir()) - before
    assert caught.value.__notes__ == [f"to go on: run.sweep(resume={str(folder)!r})"]
    done = searched.sweep(resume=folder)
    assert done.path == folder
    assert done.record == searched.sweep(constraints=LIMITS).record
    with pytest.raises(hnas.ConfigError, match="its pairs and settings are chosen already"):
        searched.sweep(resume=folder, constraints=LIMITS)


def test_wrong_pairs_are_told_in_the_words_of_python_and_leave_nothing(searched):
    before = set(searched.path.parent.iterdir())
    with pytest.raises(hnas.ConfigError, match="backends: 'eyeriss' is given twice"):
        searched.sweep(backends=("eyeriss", "eyeriss"))
    with pytest.raises(hnas.ConfigError, match="2 of 2 pairs cannot be searched"):
        searched.sweep(constraints=("latency<=3mJ", "energy<=5"))
    with pytest.raises(hnas.InfeasibleError) as caught:
        searched.sweep(constraints=("latency<=1ns", "latency<=1ms"))
    assert any(note.startswith("hint: ") for note in caught.value.__notes__)
    assert set(searched.path.parent.iterdir()) == before


def test_objects_are_swept_as_well(tmp_path):
    objects: dict[str, Any] = {
        "space": VGG9(VGG9Options(base_width=4)),
        "tasks": TinyTasks(),
        "backend": TinyBoard(TinyBoard.Options(ns=2.0)),
    }
    made = hnas.run(**objects, preset="none", settings=SETTINGS, run_dir=tmp_path / "run", until="meta-train")
    done = made.sweep(backends=("object:TinyBoard", "eyeriss"), constraints="params<=2K")
    assert [p.backend for p in done.record.pairs] == ["object:TinyBoard", "eyeriss"]
    assert made.sweep(resume=done.path).record == done.record
    first = hnas.load_run(done.path / done.record.pairs[0].name, **objects)
    assert first.profile().info.settings["ns"] == 2.0


def test_a_front_is_that_of_the_command(searched, tmp_path, capsys):
    other = searched.branch(constraints="latency<=0.3ref")
    other.adapt()
    found = searched.front(other, tasks=4, picture=tmp_path / "python.png")
    told = printed(capsys, "front", searched.path, other.path, "--tasks", 4, "--out", tmp_path / "shell.png")
    assert {**told, "picture": str(found.picture)} == json.loads(json.dumps(to_json(found)))
    assert (tmp_path / "python.png").read_bytes() == (tmp_path / "shell.png").read_bytes()
    (front,) = found.fronts
    assert front.series[0].runs == (str(searched.path), str(other.path))
    with pytest.raises(hnas.ConfigError, match="unknown metric 'latencyy'"):
        searched.front(metric="latencyy")
    with pytest.raises(hnas.ConfigError, match=r"picture: .*front\.bmp is neither"):
        searched.front(picture=tmp_path / "front.bmp")


def test_an_export_is_adapted_to_the_pictures_given(searched, tmp_path, required_module):
    required_module("onnx")
    pictures = draw(tmp_path / "bars", 2, 2)
    with pytest.raises(hnas.DataError, match="has found no network yet"):
        searched.branch().export()
    done = searched.export(tmp_path / "out", pictures=pictures)
    assert (done.subject.classes, done.is_example, done.latency) == (("bar 0", "bar 1"), False, ())
    assert done.architecture == tmp_path / "out" / "architecture.json"
    architecture = json.loads(done.architecture.read_text())
    assert architecture["genes"] == to_json(searched.adapt().chosen.arch)["genes"]
    metadata = OnnxModel.open(Path(done.model.path)).metadata
    assert (metadata.classes, metadata.architecture) == (("bar 0", "bar 1"), architecture["options"])


def test_a_network_for_own_pictures_is_that_of_the_command(searched, tmp_path, capsys, required_module):
    required_module("onnx")
    pictures = draw(tmp_path / "bars", 2, 2)
    events: list[hnas.Event] = []
    run = hnas.load_run(searched.path, on_event=events.append)
    done = run.adapt_to(pictures, constraints="params<=2K", settings={"strategy.iterations": 1}, model=tmp_path / "m")
    assert done.run != searched.path
    assert any(e.kind == "note" and "starts from the super-net" in e.text for e in events)
    assert done.result.classes == ("bar 0", "bar 1")
    assert done.result.cost["params"] <= 2000
    assert done.result.held_out is not None
    assert done.model is not None
    assert done.model_path.read_bytes() == Path(done.model.path).read_bytes()
    told = printed(capsys, "adapt", done.run)  # goes on in the same run
    assert told["run"] == str(done.run)
    result = to_json(done.result)
    assert {k: told[k] for k in result} == result
    with pytest.raises(hnas.ConfigError, match="has 4 classes; the super-net of"):
        run.adapt_to(draw(tmp_path / "more", 4, 1))
