"""The best state by validation is kept, and training stops when none better comes; the same after an interruption."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs
import pytest
import torch
from tiny_board import TinyBoard
from tiny_tasks import tiny_setup

import hnas
from hnas import Progress
from hnas.architecture import Architecture
from hnas.errors import DataError
from hnas.events import Event
from hnas.learner import State
from hnas.testing import TinyTasks
from hnas_app.executors.in_process import InProcess
from hnas_app.executors.interface import Executor
from hnas_app.executors.local_processes import LocalProcesses
from hnas_app.training import outer_loop
from hnas_app.training.best import SAMPLED, judged, kept
from hnas_app.training.checkpoint import load_latest, save_checkpoint
from hnas_app.training.outer_loop import TrainPlan, train
from hnas_plugins.spaces.vgg9 import VGG9, VGG9Options

PLAIN = TrainPlan(epochs=6, iterations=2, tasks=2, n_query=1, validate_every=1, validate_tasks=3)
PATIENT = attrs.evolve(PLAIN, patience=2)
ACCURACIES = {2: 0.4, 4: 0.6, 6: 0.6, 8: 0.5, 10: 0.7, 12: 0.1}
"""By iteration; the one at 6 is no better than that at 4, so two in a row have found none at 8."""


class Stop(Exception):
    """What ends a training in the middle here; a Ctrl-C does the same."""


@pytest.fixture(scope="module")
def alone() -> Iterator[Executor]:
    with InProcess() as executor:
        yield executor


@pytest.fixture(autouse=True)
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    """Save after every iteration, so that a stop falls between any two."""
    monkeypatch.setattr(outer_loop, "CHECKPOINT_SECONDS", 0.0)


Train = Callable[..., State]


@pytest.fixture
def scripted(alone: Executor, monkeypatch: pytest.MonkeyPatch) -> Train:
    """Return a function that trains, with the validation accuracies of `ACCURACIES`."""
    setup, at = tiny_setup(), [0]
    arch = setup.space.architecture(depth=2, kernel1=3, kernel2=1, scale1=0.5, scale2=1.0)
    own = attrs.evolve(setup, alone=arch)

    def validated(*_: Any, **__: Any) -> Mapping[str, float]:
        return {"validation_loss": 1.0, "validation_accuracy": ACCURACIES[at[0] + 1]}

    monkeypatch.setattr(outer_loop, "validate", validated)

    def trained(folder: Path, plan: TrainPlan, stop_at: int = -1, events: list[Event] | None = None) -> State:
        def sample(progress: Progress) -> Sequence[Architecture]:
            if progress.iteration == stop_at:
                raise Stop
            at[0] = progress.iteration
            return [arch]

        told = [] if events is None else events
        start = lambda: own.learner.init(own.supernet, own.seeds.torch("init"))  # noqa: E731
        return train(own, plan, sample, alone, phase="retrain", folder=folder, emit=told.append, start=start)

    return trained


def same(one: State, other: State) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[k], other[k]) for k in one)


def after(trained: Train, folder: Path, iteration: int) -> State:
    """Return the state of a plain training after some iterations."""
    with pytest.raises(Stop):
        trained(folder, PLAIN, stop_at=iteration)
    found = load_latest(folder, "state")
    assert found is not None
    assert found[1] == {"iteration": iteration}
    return found[0]


def test_training_stops_and_the_best_state_is_kept(scripted: Train, tmp_path: Path) -> None:
    """Every reader of the last checkpoint gets the best weights; a finished training is only read."""
    events: list[Event] = []
    state = scripted(tmp_path / "a", PATIENT, events=events)
    assert same(state, after(scripted, tmp_path / "plain", 4))
    assert (events[-1].kind, events[-1].done, events[-1].total) == ("end", 8, 12)
    assert events[-1].values == {"kept_iteration": 4, "validation_accuracy": 0.6}
    told = [e.values["validation_accuracy"] for e in events if e.kind == "step" and "validation_accuracy" in e.values]
    assert told == [0.4, 0.6, 0.6, 0.5]
    found = load_latest(tmp_path / "a", "state")
    assert found is not None
    assert same(found[0], state)
    assert kept(tmp_path / "a") == {"stopped": 8, "iteration": 4, "accuracy": 0.6, "waited": 2}
    assert same(scripted(tmp_path / "a", PATIENT, stop_at=8, events=(again := [])), state)
    assert again == []


def test_the_best_of_all_is_kept_without_patience(scripted: Train, tmp_path: Path) -> None:
    """The last validation is at the end of the training; here it is the worst."""
    state = scripted(tmp_path / "a", attrs.evolve(PLAIN, keep_best=True))
    assert same(state, after(scripted, tmp_path / "plain", 10))
    assert kept(tmp_path / "a") == {"stopped": 12, "iteration": 10, "accuracy": 0.7, "waited": 1}


def test_it_is_off_by_default_and_validations_change_no_training(
    scripted: Train, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A plain training leaves what it always left; one whose last state is the best ends with the same weights."""
    plain = scripted(tmp_path / "plain", PLAIN)
    assert not list((tmp_path / "plain").glob("best-*"))
    found = load_latest(tmp_path / "plain", "state")
    assert found is not None
    assert found[1] == {"iteration": 12}
    assert kept(tmp_path / "plain") is None
    monkeypatch.setitem(ACCURACIES, 12, 0.9)
    assert same(scripted(tmp_path / "best", attrs.evolve(PLAIN, keep_best=True)), plain)


@pytest.mark.parametrize("stop_at", [1, 3, 4, 5, 7])
def test_an_interruption_changes_nothing(scripted: Train, tmp_path: Path, stop_at: int) -> None:
    """Before the first validation, between two, right behind the best one, and right before the stop."""
    whole = scripted(tmp_path / "whole", PATIENT)
    with pytest.raises(Stop):
        scripted(tmp_path / "cut", PATIENT, stop_at=stop_at)
    assert same(scripted(tmp_path / "cut", PATIENT), whole)
    assert kept(tmp_path / "cut") == kept(tmp_path / "whole")


@pytest.mark.parametrize("name", ["state-00000004", "state-00000008"])
def test_a_kill_between_the_best_state_and_the_last_one_changes_nothing(
    scripted: Train, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """The best state is saved first; the validation that found it comes again, with the same result."""
    whole = scripted(tmp_path / "whole", PATIENT)

    def dying(folder: Path, saved: str, *rest: Any) -> Path:
        if saved == name:
            raise Stop
        return save_checkpoint(folder, saved, *rest)

    with monkeypatch.context() as patch:
        patch.setattr(outer_loop, "save_checkpoint", dying)
        with pytest.raises(Stop):
            scripted(tmp_path / "cut", PATIENT)
    assert same(scripted(tmp_path / "cut", PATIENT), whole)


def test_a_best_state_that_is_damaged_is_named(scripted: Train, tmp_path: Path) -> None:
    with pytest.raises(Stop):
        scripted(tmp_path, PATIENT, stop_at=5)
    (tmp_path / "best-00000004.safetensors").write_bytes(b"")
    with pytest.raises(DataError, match=r"best-00000004\.safetensors is damaged"):
        scripted(tmp_path, PATIENT)


def test_a_super_net_is_judged_by_the_same_networks_each_time() -> None:
    """The largest one if the space has no reference for such images, and some random ones, which the seed decides."""
    one, two, other = (judged(tiny_setup(seed)) for seed in (0, 0, 1))
    assert one == two != other
    assert len(one) == 1 + SAMPLED
    arch = tiny_setup().space.smallest()
    assert judged(attrs.evolve(tiny_setup(), alone=arch)) == (arch,)


TINY: dict[str, Any] = {
    "learner.inner_steps": 1, "task.n_way": 3, "strategy.population": 6, "strategy.iterations": 1,
    "meta_train.epochs": 4, "meta_train.iterations": 2, "meta_train.tasks": 2, "meta_train.validate_tasks": 4,
    "meta_train.validate_every": 1, "meta_train.keep_best": True, "search.tasks": 2, "search.pool": 8,
    "search.n_query": 2, "search.final_tasks": 4, "retrain.epochs": 9, "retrain.iterations": 1, "retrain.tasks": 2,
    "retrain.validate_every": 1, "retrain.validate_tasks": 2, "retrain.patience": 1, "evaluate.tasks": 4,
}  # fmt: skip


def whole_run(path: Path, **given: Any) -> hnas.Run:
    board, space = TinyBoard(TinyBoard.Options(ns=2.0)), VGG9(VGG9Options(base_width=4))
    return hnas.run(
        space=space, tasks=TinyTasks(), backend=board, preset="none", settings=TINY, run_dir=path, workers=1, **given
    )


def test_a_run_records_what_it_kept_and_goes_on_to_the_same_end(tmp_path: Path) -> None:
    """Stopped in the middle of both trainings, with real validations."""
    whole = whole_run(tmp_path / "whole")
    noted = json.loads((tmp_path / "whole" / "run.json").read_text())["kept"]
    assert noted.keys() == {"meta-train", "retrain", *(f"retrain {n.name}" for n in whole.results.networks[1:])}
    assert noted["meta-train"]["stopped"] == 8
    assert all(0 < n["iteration"] <= n["stopped"] for n in noted.values())
    assert noted["retrain"]["waited"] <= 1
    lines = (tmp_path / "whole" / "metrics.jsonl").read_text().splitlines()
    ends = {e["phase"]: e.get("values", {}) for e in map(json.loads, lines) if e["kind"] == "end"}
    assert {p: ends[p]["kept_iteration"] for p in noted} == {p: n["iteration"] for p, n in noted.items()}

    for phase, after in (("meta-train", 2), ("retrain", 1)):
        count = [0]

        def stop(event: Event, phase: str = phase, after: int = after, count: list[int] = count) -> None:
            count[0] += event.phase == phase and "validation_accuracy" in event.values
            if count[0] == after:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            whole_run(tmp_path / "cut", on_event=stop)
    again = whole_run(tmp_path / "cut")
    assert again.results == whole.results
    assert json.loads((tmp_path / "cut" / "run.json").read_text())["kept"] == noted


@pytest.mark.slow
def test_workers_keep_the_best_too(tmp_path: Path) -> None:
    """Their gradients are added in another order; the best is kept all the same."""
    setup, plan = tiny_setup(), attrs.evolve(PLAIN, keep_best=True)
    start = lambda: setup.learner.init(setup.supernet, setup.seeds.torch("init"))  # noqa: E731
    sample = lambda _: [setup.space.largest()]  # noqa: E731
    with LocalProcesses(2) as two:
        train(setup, plan, sample, two, phase="meta-train", folder=tmp_path, emit=lambda e: None, start=start)
    told = kept(tmp_path)
    assert told is not None
    assert told["stopped"] == 12
