"""What works from a run works from a super-net: adapt, pictures, a sweep, a whole run, and from Python."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from published import train
from tiny_board import TinyBoard

import hnas
from hnas.discovery import Registry
from hnas.errors import DataError
from hnas_app.cli import run as command_line
from hnas_app.report.evidence import read
from hnas_app.supernets.packing import Packed, packed
from hnas_app.supernets.unpacking import unpacked

DEVICE = ["--workers", "1", "--backend", "tiny_board:TinyBoard"]


def call(*words: object) -> int:
    return command_line([str(w) for w in words])


def made() -> list[Path]:
    """Return the runs in ``runs/`` of the working folder."""
    return sorted(Path("runs").iterdir()) if Path("runs").is_dir() else []


def draw(root: Path, classes: int, size: int = 20, mode: str = "L") -> Path:
    """Draw a bar of each class at a place of its own."""
    for label in range(classes):
        (root / f"bar {label}").mkdir(parents=True)
        for i in range(2):
            paper = np.random.default_rng((label, i)).integers(0, 60, (size, size), dtype=np.uint8)
            paper[:, 2 * label : 2 * label + 2] = 255
            Image.fromarray(paper).convert(mode).save(root / f"bar {label}" / f"{i}.png")
    return root


def test_a_search_is_a_run_that_goes_on_when_the_distribution_is_gone(
    site: Any, tiny: Packed, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    site.publish(tiny)
    monkeypatch.setattr("hnas_app.cli.commands.adapt.SHOWN", 1)
    words = ["--constraint", "params<=1M", "--set", "task.n_way=4", "--set", "search.finalists=3"]
    assert call("adapt", "leaves", *DEVICE, *words) == 0
    table, _, rest = capsys.readouterr().out.partition("\nand 2 more finalists: --json\n")
    assert len(table.splitlines()) == 2
    assert "the first: " in rest
    assert "it has " in rest
    assert "limits: params<=1M" in rest
    (run,) = made()
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    assert call("adapt", run, "--workers", 1) == 0
    assert max(map(len, capsys.readouterr().out.splitlines())) <= 80
    record = json.loads((run / "run.json").read_text())
    assert record["supernet"]["name"] == "leaves"
    assert record["supernet"]["distribution"] == "hnas-supernet-leaves"
    assert record["supernet"]["version"] == "1.0"
    assert len(record["supernet"]["sha256"]) == 64
    assert {k: v["state"] for k, v in record["phases"].items()} == dict.fromkeys(
        ("meta-train", "profile", "adapt"), "done"
    )
    shutil.rmtree(site.folder)
    shutil.rmtree(tmp_path / "home")
    del sys.modules["hnas_supernet_leaves"]
    assert not any("curve of meta-training" in sentence for sentence in read(run).missing)  # it never had one
    assert call("adapt", run, "--workers", 1, "--constraint", "params<=2M") == 0
    (more,) = set(made()) - {run}
    assert json.loads((more / "run.json").read_text())["supernet"] == record["supernet"]


@pytest.mark.slow
@pytest.mark.parametrize(("learner", "most"), [("prototypical", 50), ("meta-sgd", 3)])
def test_a_super_net_of_another_learner(learner: str, most: int, site: Any, tmp_path: Path) -> None:
    """One that compares features serves any number of classes without the shared classifier; rates go with weights."""
    run = train(tmp_path / "run", learner, **{"space.classifier": "own", "learner.inner_steps": None})
    files = packed(run, "leaves", Registry(third_party=False))
    assert files.n_way == (2, most)
    site.publish(files)
    words = ["adapt", "leaves", *DEVICE, "--constraint", "params<=1M", "--set"]
    assert call(*words, "task.n_way=3") == 0
    assert (call(*words, "task.n_way=5") == 0) == (most > 3)


@pytest.mark.slow
def test_every_later_phase_works_without_the_distribution(site: Any, tiny: Packed, tmp_path: Path) -> None:
    site.publish(tiny)
    assert call("adapt", "leaves", "--workers", 1) == 0
    (run,) = made()
    shutil.rmtree(site.folder)
    shutil.rmtree(tmp_path / "home")
    assert call("retrain", run, "--workers", 1) == 0
    assert call("evaluate", run, "--workers", 1) == 0


@pytest.mark.slow
@pytest.mark.parametrize(("size", "mode"), [(20, "L"), (40, "RGB")])
def test_pictures_of_another_number_size_and_colour(size: int, mode: str, site: Any, tiny: Packed) -> None:
    """They are scaled and made grey, as those of a run are; the classifier is shared."""
    site.publish(tiny, n_way=(2, 5))
    words = ["adapt", "leaves", "--pictures", draw(Path("bars"), 5, size, mode), "--constraint", "params<=1M", "--json"]
    assert call(*words, "--workers", 1) == 0
    (run,) = made()
    assert len(json.loads((run / "task.json").read_text())["classes"]) == 5


def test_pictures_of_more_classes_than_it_serves(site: Any, tiny: Packed, capsys: pytest.CaptureFixture[str]) -> None:
    site.publish(tiny, n_way=(2, 4))
    assert call("adapt", "leaves", "--workers", 1, "--pictures", draw(Path("bars"), 5)) == 3
    assert "bars has 5 classes, and the super-net 'leaves' of hnas-supernet-leaves 1.0 serves 2 to 4" in (
        told := capsys.readouterr().err
    )
    assert "hnas supernets list" in told
    assert made() == []


@pytest.mark.parametrize(
    ("settings", "parts"),
    [
        (["task.n_way=51"], ["task.n_way is 51, and the super-net 'leaves'", "serves 2 to 50"]),
        (["space.base_width=8"], ["the super-net 'leaves' of", "space.base_width: 4 in the run, 8 now"]),
        (["learner.inner_lr=0.2"], ["learner.inner_lr: 0.1 in the run, 0.2 now"]),
        (["tasks.name=mini-imagenet"], ["images: '1x28x28' in the run, '3x84x84' now"]),
    ],
)
@pytest.mark.parametrize("command", [["adapt", "leaves"], ["run", "--supernet", "leaves"]], ids=lambda words: words[0])
def test_settings_that_contradict_it_are_refused_by_name(
    command: list[str], settings: list[str], parts: list[str], site: Any, tiny: Packed, capsys: Any
) -> None:
    site.publish(tiny)
    assert call(*command, "--workers", 1, *(w for text in settings for w in ("--set", text))) == 3
    told = capsys.readouterr().err
    assert [part for part in parts if part not in told] == []
    assert made() == []


@pytest.mark.parametrize("flags", [["--preset", "small"], ["--config", "mine.toml"]])
def test_a_run_takes_its_other_settings_from_the_super_net(
    flags: list[str], site: Any, tiny: Packed, capsys: Any
) -> None:
    site.publish(tiny)
    Path("mine.toml").write_text("")
    assert call("run", "--supernet", "leaves", *flags) == 3
    assert f"{flags[0]} and --supernet exclude each other" in capsys.readouterr().err


def test_a_super_net_of_as_many_outputs_serves_no_more(
    site: Any, tmp_path: Path, trained: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without a shared classifier; fewer classes of pictures leave outputs out, as those of a run do."""
    own = packed(train(tmp_path / "own", **{"space.classifier": "own"}), "twigs", Registry(third_party=False))
    assert own.n_way == (2, 3)
    site.publish(own, "twigs")
    assert call("adapt", "twigs", "--workers", 1, "--set", "task.n_way=4") == 3
    assert "serves 2 to 3" in capsys.readouterr().err
    assert call("adapt", "twigs", "--workers", 1, "--set", "task.n_way=2") == 3
    assert "task.n_way: 3 in the run, 2 now" in capsys.readouterr().err


def test_a_sweep_over_its_limits(site: Any, tiny: Packed) -> None:
    site.publish(tiny)
    assert call("adapt", "leaves", *DEVICE, "--constraint", "params<=1M", "--constraint", "params<=2M") == 0
    (sweep,) = made()
    pairs = sorted(p.parent for p in sweep.glob("*/run.json"))
    assert len(pairs) == 2
    assert {json.loads((p / "run.json").read_text())["supernet"]["name"] for p in pairs} == {"leaves"}


@pytest.mark.slow
def test_a_whole_run_skips_the_training_and_goes_on(site: Any, tiny: Packed, capsys: Any) -> None:
    site.publish(tiny)
    site.publish(tiny, "other", "hnas-supernet-other", weights_content=tiny.weights + b"")
    words = ["run", "--supernet", "leaves", "--workers", 1, "--run-dir", "whole", "--set", "task.n_way=4"]
    assert call(*words) == 0
    record = json.loads(Path("whole/run.json").read_text())
    assert "copied_from" in record["phases"]["meta-train"]
    assert record["phases"]["evaluate"]["state"] == "done"
    assert call(*words) == 0  # it is done already
    assert call("meta-train", "--run-dir", "other", "--preset", "none", "--set", "meta_train.epochs=1", "--set",
                "meta_train.iterations=1", "--set", "meta_train.tasks=1", "--workers", 1) == 0  # fmt: skip
    capsys.readouterr()
    assert call("run", "--supernet", "leaves", "--run-dir", "other") == 3
    assert "other is a run that does not start from the super-net 'leaves'" in capsys.readouterr().err


def test_from_python_it_is_a_run_that_others_start_from(site: Any, tiny: Packed, tmp_path: Path) -> None:
    site.publish(tiny)
    notes: list[str] = []
    supernet = hnas.load_supernet("leaves", on_event=lambda event: notes.append(event.text))
    assert supernet.phases == {"meta-train": "done"}
    before = sorted((p, p.stat().st_mtime_ns) for p in supernet.path.rglob("*"))
    run = supernet.branch(backend=TinyBoard(TinyBoard.Options()), constraints="params<=1M", settings={"task.n_way": 2})
    assert run.path.parent == Path.cwd() / "runs"
    assert run.adapt().finalists
    for phase in (supernet.profile, supernet.adapt, supernet.evaluate):
        with pytest.raises(DataError, match="the super-net 'leaves'"):
            phase()
    assert sorted((p, p.stat().st_mtime_ns) for p in supernet.path.rglob("*")) == before


@pytest.mark.slow
def test_from_python_it_adapts_to_pictures(site: Any, tiny: Packed) -> None:
    site.publish(tiny)
    supernet = hnas.load_supernet("leaves")
    found = supernet.adapt_to(draw(Path("bars"), 2), constraints="params<=1M")
    assert found.run.parent == Path.cwd() / "runs"


def test_no_phase_is_done_in_the_cache_by_its_path(site: Any, tiny: Packed) -> None:
    """A user who finds the folder gets a run of his own, as by the name."""
    site.publish(tiny)
    registry = Registry()
    path = unpacked(registry.get("supernet", "leaves"), registry).path
    assert call("adapt", path, *DEVICE, "--constraint", "params<=1M") == 0
    assert len(made()) == 1
    assert not (path / "adapt.json").exists()
