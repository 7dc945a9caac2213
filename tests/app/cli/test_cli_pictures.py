"""From a folder of pictures to predictions, by the command line. An untrained super-net shows that all of it fits."""

from __future__ import annotations

import io
import json
import shutil
import subprocess
import sys
import tomllib
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from hnas.errors import DataError
from hnas_app.cli import run
from hnas_app.usecases.own_task import recorded_pictures

TINY = {
    "space.base_width": 8,
    "meta_train.epochs": 1,
    "meta_train.iterations": 1,
    "meta_train.tasks": 1,
    "strategy.population": 4,
    "strategy.iterations": 2,
    "search.tasks": 4,
    "search.finalists": 2,
    "retrain.epochs": 1,
    "retrain.iterations": 1,
    "retrain.tasks": 1,
}


def called(capsys: pytest.CaptureFixture[str], *words: object) -> tuple[int, str, str]:
    """Run a command here; return its code and what it printed."""
    code = run([str(w) for w in words])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def draw(root: Path, classes: int, shots: int, query: int = 0) -> Path:
    """Draw bars in dark ink on white paper, at a place that tells the class."""
    generator = np.random.default_rng(0)
    for label in range(classes):
        for folder, count in ((root / f"bar {label}", shots), (root / "query" / f"bar {label}", query)):
            for i in range(count):
                folder.mkdir(parents=True, exist_ok=True)
                paper = np.full((40, 40), 255, np.uint8)
                paper[:, 6 * label + 3 : 6 * label + 8] = generator.integers(0, 60, (40, 5))
                Image.fromarray(paper).save(folder / f"{i}.png")
    return root


@pytest.fixture(scope="module")
def super_net(tmp_path_factory: pytest.TempPathFactory, hnas_home: Path) -> Path:
    """A run directory whose super-net serves five classes."""
    path = tmp_path_factory.mktemp("runs") / "super"
    sets = [part for key, value in TINY.items() for part in ("--set", f"{key}={value}")]
    assert run(["meta-train", "--run-dir", str(path), "--workers", "1", *sets]) == 0
    return path


@pytest.fixture(scope="module")
def adapted(super_net: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What ``hnas adapt --pictures`` printed for three classes of two pictures, and where its model is."""
    folder = tmp_path_factory.mktemp("task")
    pictures, model = draw(folder / "bars", 3, 2, query=2), folder / "model.onnx"
    words = ["adapt", super_net, "--pictures", pictures, "--export", model, "--json", "--workers", "1"]
    with redirect_stdout(io.StringIO()) as printed:
        assert run([str(w) for w in words]) == 0
    return {**json.loads(printed.getvalue()), "pictures": pictures, "file": model}


def test_it_makes_a_run_of_its_own_with_all_that_is_needed(adapted: dict[str, Any], super_net: Path) -> None:
    made = Path(adapted["run"])
    assert made != super_net
    assert not (super_net / "adapt.json").exists()
    assert adapted["classes"] == ["bar 0", "bar 1", "bar 2"]
    assert (adapted["held_out"]["of"], adapted["query"]["of"]) == (6, 6)
    assert adapted["model"]["difference"] < 1e-4
    assert adapted["fitness"] == "loss on held-out labelled pictures, 2 folds, 2 times"
    architecture = json.loads((made / "export" / "architecture.json").read_text())
    assert architecture["options"] == adapted["options"]
    assert architecture["layers"][-1]["out_shape"] == [3, 1, 1]
    assert (made / "export" / "model.onnx").read_bytes() == adapted["file"].read_bytes()


def test_the_run_serves_as_many_classes_as_the_task_has(adapted: dict[str, Any]) -> None:
    """Or a later ``hnas evaluate`` of it would read a head of five outputs as one of three."""
    from hnas_app.training.checkpoint import load_latest

    found = load_latest(Path(adapted["run"]) / "checkpoints" / "meta-train", "state")
    assert found is not None
    assert found[0]["params/fc.bias"].shape == (3,)


def test_a_race_on_other_tasks_does_not_replace_the_choice(adapted: dict[str, Any], super_net: Path) -> None:
    """After `hnas retrain` of this run, an export was that of the network which was best on validation tasks."""
    finalists = {
        path: tomllib.loads((path / "config.toml").read_text())["retrain"]["finalists"]
        for path in (super_net, Path(adapted["run"]))
    }
    assert list(finalists.values()) == [7, 1]


def test_predictions_are_those_of_the_report(adapted: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    """Pictures, preparation, order of the classes: all of it is the same as when the query pictures were counted."""
    paths = sorted((adapted["pictures"] / "query").glob("*/*.png"))
    code, out, err = called(capsys, "predict", adapted["file"], *paths, "--json")
    assert (code, err) == (0, "")
    rows = json.loads(out)
    right = [row["class"] == Path(row["image"]).parent.name for row in rows]
    assert sum(right) == adapted["query"]["right"]
    assert all(abs(sum(row["probabilities"].values()) - 1) < 1e-6 for row in rows)
    assert all(row["probability"] == max(row["probabilities"].values()) for row in rows)
    one = json.loads(called(capsys, "predict", adapted["file"], paths[0], "--json")[1])
    assert one[0]["probabilities"] == rows[0]["probabilities"]


def test_a_damaged_picture_is_named_and_the_others_are_classified(
    adapted: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bad, good = tmp_path / "bad.png", next((adapted["pictures"] / "query").glob("*/*.png"))
    bad.write_bytes(b"no picture")
    code, out, err = called(capsys, "predict", adapted["file"], bad, good)
    assert code == 3
    assert f"error: {bad}: not a picture" in err
    assert len(out.splitlines()) == 2
    rows = json.loads(called(capsys, "predict", adapted["file"], bad, good, "--json")[1])
    assert ["error" in row for row in rows] == [True, False]


def test_predicting_imports_no_torch(adapted: dict[str, Any]) -> None:
    """It would take seconds before the first picture."""
    picture = next((adapted["pictures"] / "query").glob("*/*.png"))
    told = "import sys; from hnas_app.cli import run; print(run(sys.argv[1:]), 'torch' in sys.modules)"
    words = [sys.executable, "-c", told, "predict", str(adapted["file"]), str(picture)]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "0 False"


def test_what_is_no_model_of_hnas_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from onnx import TensorProto, helper

    value = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1]) for name in ("x", "y")]
    graph = helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "g", value[:1], value[1:])
    foreign = tmp_path / "foreign.onnx"
    opset = helper.make_opsetid("", 18)
    foreign.write_bytes(helper.make_model(graph, opset_imports=[opset], ir_version=8).SerializeToString())
    code, _, err = called(capsys, "predict", foreign, "x.png")
    assert code == 3
    assert "is an ONNX model, but none that hnas exported: its metadata have no hnas.schema" in err
    foreign.write_bytes(b"no model")
    assert "is not a model that onnxruntime" in called(capsys, "predict", foreign, "x.png")[2]
    assert "there is no file" in called(capsys, "predict", tmp_path / "none.onnx", "x.png")[2]


def test_the_same_pictures_again_go_on_where_the_run_stopped(
    adapted: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    """By the run's own name alone, which is what an interrupted command says to call."""
    made = Path(adapted["run"])
    before = (made / "search.jsonl").read_bytes(), sorted(p.name for p in made.parent.iterdir())
    code, out, _ = called(capsys, "adapt", made, "--json", "--workers", "1")
    assert code == 0
    again = json.loads(out)
    assert (again["arch"], again["loss"], again["query"]) == (adapted["arch"], adapted["loss"], adapted["query"])
    assert ((made / "search.jsonl").read_bytes(), sorted(p.name for p in made.parent.iterdir())) == before


def test_other_pictures_make_another_run(
    adapted: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """With one picture of each class and none to test with, the fitness is the loss on what was adapted to."""
    pictures = draw(tmp_path / "bars", 2, 1)
    code, out, err = called(
        capsys, "adapt", adapted["run"], "--pictures", pictures, "--retrain", "--workers", "1", "--json"
    )
    assert code == 0, err
    found = json.loads(out)
    assert found["run"] != adapted["run"]
    assert (found["classes"], found["held_out"], found["query"]) == (["bar 0", "bar 1"], None, None)
    assert found["fitness"] == "loss on the labelled pictures after adapting to them"
    assert found["retrained"] is True


def test_more_classes_than_the_super_net_serves_are_refused_with_what_to_train(
    super_net: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, _, err = called(capsys, "adapt", super_net, "--pictures", draw(tmp_path, 6, 1))
    assert code == 3
    assert "has 6 classes; the super-net of" in err
    assert f"hnas meta-train --config {super_net / 'config.toml'} --set task.n_way=6" in err


def test_pictures_of_the_wrong_ink_are_told(
    super_net: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The super-net was trained on white ink on black: dark ink on white is turned round, unless that is forbidden."""
    words = ["adapt", super_net, "--pictures", draw(tmp_path / "bars", 6, 1)]
    (tmp_path / "bars" / "bar 5" / "0.png").unlink()
    (tmp_path / "bars" / "bar 5").rmdir()
    assert "--invert turns them round" in called(capsys, *words, "--no-invert", "--set", "search.tasks=0")[2]
    assert "turns them round" not in called(capsys, *words, "--set", "search.tasks=0")[2]


def test_flags_of_an_own_task_need_pictures(super_net: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = called(capsys, "adapt", super_net, "--retrain")
    assert code == 2
    assert "--retrain: needs --pictures DIR" in err


def test_the_name_of_a_file_is_no_folder_to_export_to(
    super_net: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A folder of that name was made."""
    code, _, err = called(capsys, "export", super_net, "--out", tmp_path / "m.onnx")
    assert code == 2
    assert "m.onnx names a file; expected a folder, into which model.onnx is written" in err
    assert not (tmp_path / "m.onnx").exists()


def test_a_run_that_found_nothing_yet_has_nothing_to_export(
    super_net: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, _, err = called(capsys, "export", super_net)
    assert code == 3
    assert "has found no network yet" in err
    assert f"hnas adapt {super_net}" in err


def test_an_export_checks_the_latency_and_is_the_same_model(
    adapted: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The run's table is of a chip, so only the layers that are measured now can be compared."""
    code, out, err = called(capsys, "export", adapted["run"], "--out", tmp_path, "--check", "--json")
    assert code == 0, err
    told = json.loads(out)
    assert "this machine's latency cannot be compared with it" in err
    assert (tmp_path / "model.onnx").read_bytes() == adapted["file"].read_bytes()
    (latency,) = told["latency"]
    assert latency["measured_ms"] > 0
    assert latency["ratio"] == latency["measured_ms"] / latency["estimate_ms"]


def test_a_run_without_pictures_exports_an_example_or_what_it_is_given(
    adapted: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What a search on the usual tasks found is adapted to the first validation task; nothing is searched again."""
    from hnas_app.export.onnx_session import OnnxModel

    plain = tmp_path / "plain"
    shutil.copytree(adapted["run"], plain)
    (plain / "pictures.json").unlink()
    code, _, err = called(capsys, "export", plain)
    assert code == 0
    assert f"next: hnas export {plain} --pictures DIR" in err
    example = OnnxModel.open(plain / "export" / "model.onnx").metadata
    assert (example.classes, example.origin["weights"]) == (("class 1", "class 2", "class 3"), "super-net")
    assert example.origin["task"] == "an example: the first validation task"
    assert example.architecture == adapted["options"]
    two = draw(tmp_path / "two", 2, 3)
    assert called(capsys, "export", plain, "--pictures", two, "--out", tmp_path / "out")[0] == 0
    given = OnnxModel.open(tmp_path / "out" / "model.onnx").metadata
    assert (given.classes, given.preparation.invert) == (("bar 0", "bar 1"), True)
    assert given.architecture == adapted["options"]


def test_the_record_of_the_pictures_is_checked(adapted: dict[str, Any], tmp_path: Path) -> None:
    """Another digit of it, and the pictures would be prepared otherwise than the network has learnt."""
    record = json.loads((Path(adapted["run"]) / "pictures.json").read_text())
    path = tmp_path / "pictures.json"
    for change in ({"root": "elsewhere"}, {"checksum": None}, {"preparation": {}}):
        path.write_text(json.dumps({**record, **change}))
        with pytest.raises(DataError, match=r"pictures\.json is damaged or was edited"):
            recorded_pictures(tmp_path)
    path.write_text(json.dumps({"schema": 1, "root": 3}))
    with pytest.raises(DataError, match=r"expected an object with 'root' and 'preparation\.invert'"):
        recorded_pictures(tmp_path)
    path.write_text(json.dumps({k: v for k, v in record.items() if k != "checksum"} | {"schema": 1}))
    assert recorded_pictures(tmp_path) == (adapted["pictures"].resolve(), record["preparation"]["invert"])
