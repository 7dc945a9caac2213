"""The classes that a run was trained with, and the needs of all its phases, are checked before anything is computed."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs
import numpy as np
import pytest
from PIL import Image
from tiny_board import TinyBoard
from tiny_tasks import TinyTasks, tiny_setup

import hnas
from hnas import DataError, Episodes, EpisodeSpec
from hnas.task_source import SPLITS, Split
from hnas_app.cli import run as command_line
from hnas_app.runs.run_dir import RunDir
from hnas_app.training.setup.classes import classes_of, kept_to, refuse_trained_on
from hnas_plugins.spaces.vgg9 import VGG9, VGG9Options
from hnas_plugins.tasks.folder.source import Folder, FolderOptions

SETTINGS: dict[str, Any] = {
    "tasks.side": 16,
    "task.n_way": 2,
    "learner.inner_steps": 1,
    "space.pool": 2,
    "space.base_width": 4,
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
    "evaluate.n_query": 2,
}
CLASSES, PICTURES = 20, 4


def draw(path: Path, seed: int, pictures: int = PICTURES) -> None:
    """Write a class of noise as BMP: files of the same size, whatever they show."""
    path.mkdir(parents=True)
    for i in range(pictures):
        noise = np.random.default_rng((seed, i)).integers(0, 256, (16, 16, 3), dtype=np.uint8)
        Image.fromarray(noise).save(path / f"{i}.bmp")


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with ``pictures`` and ``run``, whose super-net was trained on them."""
    root = tmp_path_factory.mktemp("trained")
    for label in range(CLASSES):
        draw(root / "pictures" / f"class {label:02d}", label)
    start(root)
    return root


def start(
    root: Path, *, until: Any = "meta-train", run_dir: str = "run", constraints: Any = (), **settings: Any
) -> hnas.Run:
    return hnas.run(
        space="vgg9",
        tasks="folder",
        backend="tiny_board:TinyBoard",
        preset="none",
        constraints=constraints,
        settings={**SETTINGS, "tasks.root": str(root / "pictures"), **settings},
        run_dir=root / run_dir,
        until=until,
    )


@pytest.fixture
def own(trained: Path, tmp_path: Path) -> Path:
    """A copy of the pictures and of the run."""
    root = tmp_path / "own"
    shutil.copytree(trained, root)
    config = root / "run" / "config.toml"
    config.write_text(config.read_text().replace(str(trained), str(root)))
    return root


def divided(root: Path) -> dict[str, list[str]]:
    """Return the classes that a run recorded, by split."""
    return {s: sorted(c) for s, c in json.loads((root / "run/splits.json").read_text())["sources"]["folder"].items()}


def test_a_run_records_its_classes_before_it_trains(trained: Path) -> None:
    source = Folder(FolderOptions(root=str(trained / "pictures")))
    assert divided(trained) == {s: list(source.class_names(s)) for s in SPLITS}
    assert len(RunDir(trained / "run").phase("meta-train")) > 0


# ---------------------------------------------------------------- other classes


def take_out(root: Path) -> str:
    gone = divided(root)["train"][0]
    shutil.rmtree(root / "pictures" / gone)
    return rf"1 removed: {gone} \(train\); \d+ moved: .*\(train, now test\)"


def rename(root: Path) -> str:
    gone = divided(root)["test"][0]
    (root / "pictures" / gone).rename(root / "pictures" / "a new name")
    return rf"1 removed: {gone} \(test\); 1 added: a new name \(\w+\); \d+ moved"


def exchange(root: Path) -> str:
    """Two classes change their names; files have the same names and sizes as before."""
    one, other = root / "pictures" / divided(root)["train"][0], root / "pictures" / divided(root)["test"][0]
    one.rename(root / "x")
    other.rename(one)
    (root / "x").rename(other)
    return rf"2 changed: {one.name} \(train\), {other.name} \(test\)"


def lose_a_picture(root: Path) -> str:
    (root / "pictures" / "class 07" / "0.bmp").unlink()
    return r"1 changed: class 07"


def take_over(root: Path) -> str:
    """The user's own split of the same pictures."""
    for label, path in enumerate(sorted((root / "pictures").iterdir())):
        target = root / "mine" / ("train", "val", "test")[label % 3] / path.name
        target.parent.mkdir(parents=True, exist_ok=True)
        path.rename(target)
    (root / "pictures").rmdir()
    (root / "mine").rename(root / "pictures")
    return r"\d+ moved: class"


@pytest.mark.parametrize("change", [take_out, rename, exchange, lose_a_picture, take_over])
def test_other_classes_end_a_later_phase_and_are_named(own: Path, change: Callable[[Path], str]) -> None:
    told = change(own)
    run = hnas.load_run(own / "run")
    with pytest.raises(DataError, match=told) as refused:
        run.evaluate()
    assert refused.value.exit_code == 3
    assert "splits.json lists the classes" in str(refused.value.hint)
    assert set(run.phases) == {"meta-train"}


def test_other_classes_end_the_same_command_and_another_folder_too(own: Path, tmp_path: Path, capsys: Any) -> None:
    """By the commands: resumed, branched, swept; the folder of the data may be named anew without a branch."""
    before = sorted(own.iterdir())
    told = take_out(own)
    commands = [
        ["evaluate", own / "run"],
        ["adapt", own / "run", "--constraint", "params<=1M"],
        ["adapt", own / "run", "--constraint", "params<=1M", "--constraint", "params<=2M"],
        ["adapt", own / "run", "--set", "tasks.split_seed=1"],
    ]
    for command in commands:
        assert command_line([str(word) for word in command]) == 3
        assert re.search(told, capsys.readouterr().err), command
    assert sorted(own.iterdir()) == before
    with pytest.raises(DataError, match=told):
        start(own, until="evaluate")
    for label in range(CLASSES):
        draw(tmp_path / "elsewhere" / f"other {label:02d}", 100 + label)
    assert command_line(["evaluate", str(own / "run"), "--data-root", str(tmp_path / "elsewhere")]) == 3
    assert f"{CLASSES} removed: class" in capsys.readouterr().err


def test_classes_that_were_added_do_not_change_the_run(own: Path, trained: Path, tmp_path: Path) -> None:
    """And the pictures may lie elsewhere, with other times."""
    shutil.copytree(own, tmp_path / "untouched")
    (tmp_path / "untouched" / "run" / "config.toml").write_text(
        (own / "run" / "config.toml").read_text().replace(str(own), str(tmp_path / "untouched"))
    )
    expected = hnas.load_run(tmp_path / "untouched" / "run").evaluate()
    for label in range(5):
        draw(own / "pictures" / f"class 00{label}", 200 + label)
    assert Folder(FolderOptions(root=str(own / "pictures"))).class_names("test") != divided(own)["test"]
    notes: list[str] = []
    found = hnas.load_run(own / "run", on_event=lambda e: notes.append(e.text) if e.kind == "note" else None)
    assert found.evaluate() == expected
    told = [note for note in notes if not note.startswith("the super-net")]  # it is too young here
    assert told == ["classes were added to the data since the run began: it goes on without them (5)"]
    assert divided(own) == divided(trained)


def test_a_worker_that_sees_other_classes_refuses_them_too(own: Path) -> None:
    """It opens the data itself, hours after the driver has compared them."""
    folder = Folder(FolderOptions(root=str(own / "pictures"), side=8))
    setup = attrs.evolve(tiny_setup(), tasks=folder, recorded=classes_of(folder), n_way=2)
    here = setup.episodes("train", "tasks", [0], 1)
    take_out(own)
    assert len(setup.episodes("train", "tasks", [1], 1)) == len(here) == 1
    there = attrs.evolve(setup, tasks=Folder(FolderOptions(root=str(own / "pictures"), side=8)))
    with pytest.raises(DataError, match="1 removed"):
        there.episodes("train", "tasks", [0], 1)


def test_a_finished_run_needs_no_data(own: Path) -> None:
    done = hnas.load_run(own / "run").evaluate()
    shutil.rmtree(own / "pictures")
    assert hnas.load_run(own / "run").evaluate() == done


@pytest.mark.slow
def test_pictures_of_ones_own_need_the_data_for_training_alone_only(own: Path) -> None:
    run = hnas.load_run(own / "run")
    gone = take_out(own)
    for label in range(2):
        draw(own / "mine" / str(label), 300 + label)
    assert run.adapt_to(own / "mine").result.k_shot == PICTURES
    with pytest.raises(DataError, match=gone):
        run.adapt_to(own / "mine", retrain=True)


def test_a_run_of_an_older_hnas_gets_its_record_with_a_note(own: Path, capsys: Any) -> None:
    (own / "run" / "splits.json").unlink()
    assert command_line(["adapt", str(own / "run")]) == 0
    assert "did not record its classes, so those of today could not be compared" in capsys.readouterr().err
    take_out(own)
    with pytest.raises(DataError, match="1 removed"):
        hnas.load_run(own / "run").evaluate()


def test_until_it_trains_a_run_may_get_other_data(own: Path) -> None:
    """A limit that cannot be met ends the first start, after the classes were recorded."""
    with pytest.raises(hnas.InfeasibleError):
        start(own, run_dir="new", until="adapt", constraints="latency<=0.001ns")
    assert (own / "new" / "splits.json").is_file()
    take_out(own)
    hnas.load_run(own / "new").meta_train()
    recorded = json.loads((own / "new" / "splits.json").read_text())["sources"]["folder"]
    assert sum(map(len, recorded.values())) == CLASSES - 1


# ---------------------------------------------------------------- other sources


class Named(TinyTasks):
    """Tiny tasks that know their classes: ``content`` is by split and class."""

    def __init__(self, content: Mapping[str, Mapping[str, str]]) -> None:
        super().__init__()
        self.content = content

    def class_digests(self, split: Split) -> Mapping[str, str]:
        return self.content[split]


CONTENT = {"train": {"a": "1", "b": "2"}, "validation": {"c": "3"}, "test": {"d": "4"}}


def test_a_source_that_cannot_leave_classes_out_has_to_have_the_recorded_ones() -> None:
    same = Named(CONTENT)
    assert kept_to(same, CONTENT) is same
    assert kept_to(same, None) is same
    silent = TinyTasks()
    assert kept_to(silent, CONTENT) is silent
    with pytest.raises(DataError, match=r"1 added: e \(test\)"):
        kept_to(Named({**CONTENT, "test": {"d": "4", "e": "5"}}), CONTENT)


def test_another_source_must_not_test_on_what_was_trained_on() -> None:
    """CIFAR-FS and FC100 divide the same classes in two ways."""
    with pytest.raises(DataError, match=r"1 classes for validation or test were trained on: x \(test\) is a of fc100"):
        refuse_trained_on({"train": {"y": "2"}, "validation": {}, "test": {"x": "1"}}, {"fc100": CONTENT})
    refuse_trained_on({"train": {"x": "1"}, "validation": {}, "test": {"y": "9"}}, {"fc100": CONTENT})


# ---------------------------------------------------------------- needs


def test_a_class_with_too_few_pictures_for_the_test_is_refused_before_anything_is_computed(own: Path) -> None:
    few = divided(own)["test"][0]
    (own / "pictures" / few / "0.bmp").unlink()
    events: list[str] = []
    with pytest.raises(DataError, match=rf"evaluate.n_query=3: folder: .*test split.*: {few} \(3\); 1 .* need 4"):
        hnas.run(
            space="vgg9",
            tasks="folder",
            backend=TinyBoard(TinyBoard.Options(ns=2.0)),
            preset="none",
            settings={**SETTINGS, "tasks.root": str(own / "pictures"), "evaluate.n_query": 3},
            run_dir=own / "new",
            on_event=lambda e: events.append(e.phase),
        )
    assert events == []
    assert not (own / "new").exists()


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"search.n_query": 4}, r"search.n_query=4: .*validation split"),
        (
            {"meta_train.n_query": 4},
            r"meta_train.n_query=4: .*train split[\s\S]*meta_train.n_query=4: .*validation split",
        ),
        ({"retrain.n_query": 4}, r"retrain.n_query=4: .*train split"),
        ({"task.n_way": 6}, r"task.n_way=6, .*test split.* has 5 classes, a 6-way task needs 6"),
        ({"task.k_shot": 3}, r"task.k_shot=3, evaluate.n_query=2: .*3 support and 2 query images need 5"),
    ],
)
def test_every_phase_is_checked_whatever_the_first_one_is(own: Path, settings: Any, told: str) -> None:
    with pytest.raises(DataError, match=told):
        start(own, run_dir="new", **settings)


def test_a_branch_with_other_needs_is_refused_before_its_folder_is_made(own: Path, capsys: Any) -> None:
    before = sorted(own.iterdir())
    assert command_line(["adapt", str(own / "run"), "--set", "evaluate.n_query=4"]) == 3
    assert "evaluate.n_query=4: folder: " in capsys.readouterr().err
    assert sorted(own.iterdir()) == before


def test_data_that_cannot_be_read_are_no_matter_of_settings(own: Path) -> None:
    shutil.rmtree(own / "pictures")
    with pytest.raises(DataError, match=r"^folder: there is no folder"):
        start(own, run_dir="new")


class Watched(TinyTasks):
    """Takes down the states of the generators that it is given."""

    drawn: list[Any]

    def sample(self, split: Split, spec: EpisodeSpec, generators: Sequence[np.random.Generator]) -> Episodes:
        self.drawn.append([split, spec.n_query, *(g.bit_generator.state["state"]["state"] for g in generators)])
        return super().sample(split, spec, generators)


def test_the_check_changes_no_task_of_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def whole(name: str) -> Any:
        source = Watched()
        source.drawn = []
        settings = {k: v for k, v in SETTINGS.items() if k not in ("tasks.side", "space.pool", "space.base_width")}
        run = hnas.run(
            space=VGG9(VGG9Options(base_width=4)),
            tasks=source,
            backend=TinyBoard(TinyBoard.Options(ns=2.0)),
            preset="none",
            settings=settings,
            run_dir=tmp_path / name,
        )
        return run.results, source.drawn

    results, drawn = whole("checked")
    monkeypatch.setattr("hnas_app.runs.tasks_check.check_needs", lambda *given: None)
    others, without = whole("unchecked")
    assert results == others
    assert drawn[-len(without) :] == without
    assert len(drawn) - len(without) == 2 * 6  # each need once before the folder is made, and once when the run begins
