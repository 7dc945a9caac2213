"""Networks trained side by side, each in one worker: as if each had been trained alone, whatever stops them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_tasks import tiny_setup

import hnas_app.training.retrain as module
from hnas import Architecture, DivergenceError
from hnas.events import Event, Listener
from hnas_app.config.schema import RetrainConfig
from hnas_app.executors.in_process import InProcess
from hnas_app.executors.interface import Executor
from hnas_app.executors.local_processes import LocalProcesses
from hnas_app.training.retrain import Training, retrain, side_by_side
from hnas_app.training.setup.setup import Setup

CONFIG = RetrainConfig(epochs=3, iterations=3, tasks=2, n_query=2, start="supernet")
TOTAL = 9


class Two(InProcess):
    """Says that it has two workers; keeps what each was given, and is interrupted after ``stop_at`` of these."""

    size, shares_disk = 2, True

    def __init__(self, stop_at: int | None = None) -> None:
        super().__init__()
        self.ran, self.stop_at = list[tuple[str, int]](), stop_at

    def map_unordered(self, work: Any, items: Sequence[Any]) -> Iterator[tuple[int, Any]]:
        for i, item in enumerate(items):
            if len(self.ran) == self.stop_at:
                raise KeyboardInterrupt
            self.ran.append((item.training.phase, item.training.until))
            ((_, result),) = super().map_unordered(work, [item])
            yield i, result


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "CHUNK", 2)


def archs(setup: Setup) -> dict[str, Architecture]:
    return {f"net {d}": setup.space.architecture(depth=d, kernel1=3) for d in (1, 2, 3)}


def start(setup: Setup) -> dict[str, Any]:
    return setup.learner.init(setup.supernet, setup.seeds.torch("init"))


def together(
    folder: Path,
    executor: Executor,
    *,
    state: dict[str, Any] | None = None,
    config: RetrainConfig = CONFIG,
    names: Sequence[str] = ("net 1", "net 2", "net 3"),
) -> list[Event]:
    """Train the networks side by side; return the events."""
    setup, events = tiny_setup(), list[Event]()
    trainings = [Training(phase=name, arch=archs(setup)[name], folder=folder / name, until=TOTAL) for name in names]
    side_by_side(setup, state or start(setup), trainings, config, executor, emit=events.append)
    return events


def ends(
    folder: Path,
    *,
    state: dict[str, Any] | None = None,
    config: RetrainConfig = CONFIG,
    names: Sequence[str] = ("net 1", "net 2", "net 3"),
    emit: Listener = lambda event: None,
) -> dict[str, dict[str, Any]]:
    """Return the networks' states at the end; those that are not trained yet are trained here."""
    setup, found = tiny_setup(), {}
    with InProcess() as here:
        for name in names:
            more: dict[str, Any] = {"phase": name, "folder": folder / name, "emit": emit}
            _, found[name] = retrain(setup, state or start(setup), archs(setup)[name], config, here, **more)
    return found


def same(one: dict[str, Any], other: dict[str, Any]) -> bool:
    return one.keys() == other.keys() and all(
        torch.equal(one[name][k], other[name][k]) for name in one for k in one[name]
    )


def test_each_ends_as_if_it_had_been_trained_alone(tmp_path: Path) -> None:
    expected = ends(tmp_path / "alone")
    with Two() as two:
        together(tmp_path / "together", two)
        ran = len(two.ran)
        together(tmp_path / "together", two)
    assert len(two.ran) == ran  # nothing is trained twice
    assert {name for name, _ in two.ran[:2]} == {"net 2", "net 3"}  # those with the most work are first
    events: list[Event] = []
    assert same(ends(tmp_path / "together", emit=events.append), expected)
    assert not events  # it is all there


@pytest.mark.parametrize("stop_at", [1, 4])
def test_an_interruption_changes_nothing(tmp_path: Path, stop_at: int) -> None:
    expected = ends(tmp_path / "alone")
    with Two(stop_at) as stopped, pytest.raises(KeyboardInterrupt):
        together(tmp_path / "stopped", stopped)
    with Two() as again:
        together(tmp_path / "stopped", again)
    with Two() as whole:
        together(tmp_path / "whole", whole)
    assert len(again.ran) <= len(whole.ran) - stop_at + 1
    assert same(ends(tmp_path / "stopped"), expected)


def test_its_events_are_those_of_each_training(tmp_path: Path) -> None:
    with Two() as two:
        events = together(tmp_path, two)
    for name in ("net 1", "net 2", "net 3"):
        own = [e for e in events if e.phase == name]
        assert [own[0].kind, own[-1].kind] == ["start", "end"]
        assert {e.kind for e in own[1:-1]} == {"step"}
        assert [e.done for e in own] == sorted(e.done for e in own)
        assert {e.total for e in own} == {TOTAL}
        assert own[-1].done == TOTAL


def test_one_that_diverges_stays_where_it_is(tmp_path: Path) -> None:
    """By an inner rate of one layer that only the deepest network has."""
    setup = tiny_setup()
    state = start(setup)
    state["lslr/conv3.weight"] += torch.inf
    with Two() as two:
        together(tmp_path, two, state=state)
        together(tmp_path, two, state=state, names=("net 1", "net 2"))
    assert [name for name, _ in two.ran].count("net 3") == 1
    with pytest.raises(DivergenceError, match="net 3"):
        ends(tmp_path, state=state, names=["net 3"])


def test_one_that_stops_early_is_not_gone_on_with(tmp_path: Path) -> None:
    config = RetrainConfig(epochs=3, iterations=3, tasks=2, n_query=2, validate_every=1, validate_tasks=2, patience=1)
    expected = ends(tmp_path / "alone", config=config)
    with Two() as two:
        together(tmp_path / "together", two, config=config)
        ran = len(two.ran)
        together(tmp_path / "together", two, config=config)
    assert len(two.ran) == ran
    assert same(ends(tmp_path / "together", config=config), expected)


@pytest.mark.parametrize("change", [{"size": 1}, {"size": 4}, {"shares_disk": False}])
def test_without_a_worker_of_this_machine_for_each_it_does_nothing(tmp_path: Path, change: dict[str, Any]) -> None:
    with Two() as executor:
        vars(executor).update(change)
        assert together(tmp_path, executor) == []
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_in_processes(tmp_path: Path) -> None:
    expected = ends(tmp_path / "alone")
    with LocalProcesses(2) as two:
        together(tmp_path / "together", two)
    assert same(ends(tmp_path / "together"), expected)
