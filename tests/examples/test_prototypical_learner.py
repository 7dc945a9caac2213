"""examples/prototypical_learner.py: one run of 10-way training serves tasks of any size, and says what it cannot."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import attrs
import pytest
import torch
from tiny_runs import MORE_CLASSES, draw
from tiny_tasks import TinyTasks, tiny_setup
from whole_classes import EXAMPLE, PROTOTYPICAL, WholeClasses

import hnas
import hnas.testing
from hnas import ConfigError, DataError, Episodes
from hnas.testing import LearnerConformance
from hnas_app.cli import run as command_line
from hnas_app.config.load import load_config
from hnas_app.runs.learner_check import suited
from hnas_app.runs.tasks_check import check_needs
from hnas_app.training.checkpoint import load_latest, save_checkpoint
from hnas_app.training.fixed_norm import FixedNorm
from hnas_app.training.meta_train import PHASE

LIMIT = "params<=1M"


def prototypical() -> Any:
    return PROTOTYPICAL(PROTOTYPICAL.Options())


class TestPrototypical(LearnerConformance):
    def make(self) -> hnas.MetaLearner:
        made: hnas.MetaLearner = prototypical()
        return made


def start(
    run_dir: Path,
    *,
    until: Any = "meta-train",
    learner: Any = EXAMPLE,
    tasks: Any = None,
    workers: int = 1,
    **more: Any,
) -> Any:
    return hnas.run(
        space="vgg9",
        learner=learner,
        tasks=tasks or "tiny_tasks:TinyTasks",
        backend="tiny_board:TinyBoard",
        preset="none",
        constraints=LIMIT,
        settings={**MORE_CLASSES, **more},
        run_dir=run_dir,
        workers=workers,
        until=until,
    )


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run whose super-net was trained with 10-way 2-shot tasks, for 5-way 1-shot ones."""
    path: Path = start(tmp_path_factory.mktemp("trained") / "run").path
    return path


def adapted(path: Path, *words: object) -> tuple[int, list[Path]]:
    """Run ``hnas adapt`` on a run; return its code and the new runs beside it."""
    before = set(path.parent.iterdir())
    code = command_line([str(w) for w in ("adapt", path, "--workers", "1", *words)])
    return code, sorted(set(path.parent.iterdir()) - before)


# ---------------------------------------------------------------- any number of classes


def test_only_training_tasks_have_the_size_of_training_tasks() -> None:
    """Those that re-training trains on as well; validation is by tasks like those of the test."""
    setup = attrs.evolve(tiny_setup(), learner=prototypical(), train_n_way=7, train_k_shot=2)
    for split, n_way, k_shot in (("train", 7, 2), ("validation", 3, 1), ("test", 3, 1)):
        drawn = setup.episodes(split, "tasks", [0], 4)
        assert drawn.support_y.shape == (1, n_way * k_shot)
        assert drawn.query_y.shape == (1, n_way * 4)


def test_one_run_serves_five_and_seven_classes(trained: Path) -> None:
    five = start(trained, until="evaluate").results  # goes on with the run
    assert "5-way 1-shot" in five.protocol
    code, (seven,) = adapted(trained, "--set", "task.n_way=7")
    assert code == 0
    assert "7-way 1-shot" in hnas.load_run(seven).evaluate().protocol
    states = [load_latest(path / "checkpoints" / PHASE, "state") for path in (trained, seven)]
    one, two = (found[0] for found in states if found)
    assert all(torch.equal(one[k], two[k]) for k in one)
    assert len(one["params/fc.bias"]) == 2  # a classifier that nothing uses


def test_the_device_sees_the_tasks_of_the_test(trained: Path) -> None:
    ways = {key[key.index("linear") :] for key in hnas.load_run(trained).profile().rows if "linear" in key}
    assert ways
    assert all("5x1x1" in way and "10x1x1" not in way for way in ways), ways


@pytest.mark.slow
def test_a_run_of_another_number_of_classes_is_exported(trained: Path) -> None:
    _, (seven,) = adapted(trained, "--set", "task.n_way=7", "--set", "search.tasks=1")
    assert hnas.load_run(seven).export().model.difference < 1e-4
    exported = json.loads((seven / "export" / "architecture.json").read_text())
    assert (len(exported["classes"]), exported["layers"][-1]["out_shape"]) == (7, [7, 1, 1])


@pytest.mark.slow
def test_pictures_of_more_classes_than_the_tasks_of_the_run(trained: Path, tmp_path: Path) -> None:
    """Two pictures of each class: one is left out in turn, and the network is exported for six classes."""
    code, (made,) = adapted(trained, "--pictures", draw(tmp_path / "six", 6, 2), "--retrain")
    assert code == 0
    task = json.loads((made / "task.json").read_text())
    assert task["fitness"] == "loss on held-out labelled pictures, 2 folds"
    assert (len(task["classes"]), task["held_out"]["of"]) == (6, 12)
    hnas.load_run(trained).adapt()
    exported = hnas.load_run(trained).export(tmp_path / "out", pictures=draw(tmp_path / "three", 3, 1))
    assert exported.model.difference < 1e-4


def test_a_learner_of_the_super_nets_classifier_is_refused_before_anything_is_made(tmp_path: Path) -> None:
    told = r"meta_train.n_way=10, task.n_way=5: learner 'maml\+\+' classifies by the super-net's outputs"
    with pytest.raises(ConfigError, match=told) as refused:
        start(tmp_path / "run", learner="maml++")
    assert refused.value.exit_code == 3
    assert "leave meta_train.n_way out" in str(refused.value.hint)
    assert not (tmp_path / "run").exists()


def test_too_few_classes_to_train_on_are_refused_by_the_setting_of_training(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"meta_train.n_way=11, meta_train.k_shot=2, meta_train.n_query=1, retrain\."):
        start(tmp_path / "run", **{"meta_train.n_way": 11})
    assert not (tmp_path / "run").exists()


def test_a_space_without_features_is_refused_before_anything_is_made(tmp_path: Path) -> None:
    told = r"learner '.*:Prototypical' needs the features before the classifier, and the super-net of space 'object:"
    with pytest.raises(ConfigError, match=told):
        hnas.run(
            space=hnas.testing.TinySpace(head=False),
            learner=EXAMPLE,
            tasks="tiny_tasks:TinyTasks",
            backend="tiny_board:TinyBoard",
            preset="none",
            constraints=LIMIT,
            settings={"meta_train.n_way": 5},
            run_dir=tmp_path / "run",
        )
    assert not (tmp_path / "run").exists()


# ---------------------------------------------------------------- support scores


def test_the_loss_on_adapted_images_is_refused_as_the_fitness(trained: Path, capsys: Any) -> None:
    code, made = adapted(trained, "--set", "search.fitness=support")
    assert (code, made) == (3, [])
    assert "search.fitness=support: the loss on the images that a network of learner " in capsys.readouterr().err


def test_a_preset_that_compares_by_it_is_replaced_with_a_note() -> None:
    registry = hnas.Registry()

    def loaded(learner: str, *sets: tuple[str, str]) -> Any:
        names = {"learner": learner, "tasks": "mini-imagenet"}
        return load_config(registry, env={}, preset="quick", flags=names, sets=sets)

    config, note = suited(loaded(EXAMPLE), registry)
    assert config.search.fitness == "query"
    assert "search.fitness is query, not support (preset quick for mini-imagenet)" in note
    assert suited(loaded("maml++"), registry)[0].search.fitness == "support"
    asked, note = suited(loaded(EXAMPLE, ("search.fitness", "support")), registry)
    assert (asked.search.fitness, note) == ("support", "")
    with pytest.raises(ConfigError, match=r"search\.fitness=support"):
        check_needs(attrs.evolve(tiny_setup(), learner=prototypical()), asked, ("adapt",))


def test_one_picture_of_each_class_cannot_choose(trained: Path, tmp_path: Path, capsys: Any) -> None:
    code, made = adapted(trained, "--pictures", draw(tmp_path / "one", 3, 1))
    assert (code, made) == (3, [])
    told = capsys.readouterr().err
    assert "networks of this learner cannot be compared by the pictures that they are adapted to" in told
    assert "give two pictures of each class" in told


def test_fixed_statistics_change_nothing_that_a_learner_declares() -> None:
    fixed = FixedNorm(WholeClasses(PROTOTYPICAL.Options()))
    assert (fixed.any_n_way, fixed.needs_classes, fixed.support_scores, fixed.needs_features) == (
        True,
        True,
        False,
        True,
    )


# ---------------------------------------------------------------- the ids of classes


class Silent(TinyTasks):
    """It knows its classes, but does not give their ids."""

    def sample(self, *given: Any) -> Episodes:
        return attrs.evolve(super().sample(*given), classes=None)


def test_a_classifier_of_all_training_classes_is_trained_and_serves_any_task(tmp_path: Path, capsys: Any) -> None:
    """With workers, which draw the ids with the tasks. Data of another number of training classes are refused."""
    run = start(tmp_path / "runs" / "run", learner="whole_classes:WholeClasses", workers=2)
    found = load_latest(run.path / "checkpoints" / PHASE, "state")
    assert found is not None
    assert len(found[0]["params/fc.bias"]) == 10
    code, (nine,) = adapted(run.path, "--set", "task.n_way=9")
    assert code == 0
    assert "9-way" in hnas.load_run(nine).evaluate().protocol
    capsys.readouterr()
    code, made = adapted(run.path, "--set", "tasks.name=whole_classes:ElevenClasses")
    assert (code, made) == (3, [])
    told = "tasks.name: 'tiny_tasks:TinyTasks' in the run, 'whole_classes:ElevenClasses' now"
    assert told in capsys.readouterr().err


def test_a_source_without_ids_is_refused_before_anything_is_made(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"WholeClasses' needs the ids of classes, and tasks 'object:Silent' have no"):
        start(tmp_path / "run", learner=WholeClasses(PROTOTYPICAL.Options()), tasks=Silent())
    assert not (tmp_path / "run").exists()


# ---------------------------------------------------------------- another learner


def test_another_learner_on_its_super_net_is_refused_by_name(trained: Path, capsys: Any) -> None:
    code, made = adapted(trained, "--set", "learner.name=maml++")
    assert (code, made) == (3, [])
    assert "learner.name: " in capsys.readouterr().err


def test_a_learner_whose_code_changed_is_refused_before_it_meets_the_state(tmp_path: Path) -> None:
    """Under the same name it begins with other tensors: this was a `KeyError` from a worker."""
    run = start(tmp_path / "run", learner="maml", **{"meta_train.n_way": 5})
    folder = run.path / "checkpoints" / PHASE
    found = load_latest(folder, "state")
    assert found is not None
    without = {k: v for k, v in found[0].items() if not k.startswith("lslr/")}
    save_checkpoint(folder, f"state-{found[1]['iteration']:08d}", without, found[1])
    with pytest.raises(DataError, match=r"it has no lslr/conv1.weight, expected \(5,\) torch.float32"):
        run.adapt()
    assert run.phases == {PHASE: "done"}
