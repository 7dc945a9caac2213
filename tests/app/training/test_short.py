"""Short trainings: the beginning of a re-training, each done once, whatever stops it and with any number of workers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import attrs
import numpy as np
import pytest
import torch
from tiny_tasks import tiny_setup

from hnas import Architecture, DataError, DivergenceError
from hnas.events import Event
from hnas_app.config.schema import RetrainConfig
from hnas_app.executors.in_process import InProcess
from hnas_app.executors.interface import Executor
from hnas_app.executors.local_processes import LocalProcesses
from hnas_app.training.retrain import retrain
from hnas_app.training.setup.setup import Setup, to_workers
from hnas_app.training.short import ShortTrainings

CONFIG = RetrainConfig(epochs=2, iterations=3, tasks=2, n_query=2, rate_factor=2.0, start="supernet")


class Recording(InProcess):
    """Keeps the first iteration and the last of each training; is interrupted after ``stop_at`` of them."""

    def __init__(self, stop_at: int | None = None) -> None:
        super().__init__()
        self.ran, self.stop_at = list[tuple[Architecture, int, int]](), stop_at

    def map_unordered(self, work: Any, items: Sequence[Any]) -> Iterator[tuple[int, Any]]:
        for i, item in enumerate(items):
            if len(self.ran) == self.stop_at:
                raise KeyboardInterrupt
            self.ran.append((item.arch, item.first, item.until))
            ((_, result),) = super().map_unordered(work, [item])
            yield i, result


def archs(setup: Setup, count: int = 2) -> list[Architecture]:
    return [setup.space.architecture(depth=d, kernel1=3) for d in range(1, count + 1)]


def state_of(setup: Setup) -> dict[str, Any]:
    return setup.learner.init(setup.supernet, setup.seeds.torch("init"))


def trained(
    folder: Path,
    executor: Executor,
    until: int = 6,
    *,
    setup: Setup | None = None,
    count: int = 2,
    events: list[Event] | None = None,
    state: dict[str, Any] | None = None,
) -> list[dict[str, Any]]:
    setup = setup or tiny_setup()
    trainings = ShortTrainings(config=CONFIG, folder=folder, emit=([] if events is None else events).append)
    setup.send(executor)
    executor.put(state=to_workers(state or state_of(setup)))
    trainings.train(archs(setup, count), until, setup, executor)
    return [trainings.state(a, until) for a in archs(setup, count)]


def same(one: dict[str, Any], other: dict[str, Any]) -> bool:
    return one.keys() == other.keys() and all(np.array_equal(one[k], other[k]) for k in one)


def test_it_is_the_beginning_of_the_re_training(tmp_path: Path) -> None:
    """To the last bit, with one worker; so a re-training could go on from it."""
    setup = tiny_setup()
    arch = archs(setup, 1)[0]
    with InProcess() as here:
        (short,) = trained(tmp_path / "short", here, count=1)
        _, whole = retrain(
            setup, state_of(setup), arch, CONFIG, here, phase="retrain", folder=tmp_path / "whole", emit=lambda e: None
        )
    assert same(short, {k: v.numpy() for k, v in whole.items()})
    assert any(k.startswith("outer/") for k in short)


def test_nothing_is_trained_twice(tmp_path: Path) -> None:
    """A longer training goes on from a shorter one, and ends as if it had not."""
    with Recording() as counted, InProcess() as here:
        trained(tmp_path / "steps", counted, 2, count=1)
        trained(tmp_path / "steps", counted, 4)
        stepwise = trained(tmp_path / "steps", counted, 6)
        trained(tmp_path / "steps", counted, 2, count=1)
        whole = trained(tmp_path / "whole", here, 6)
    first, second = archs(tiny_setup())
    assert counted.ran == [(first, 0, 2), (first, 2, 4), (second, 0, 4), (first, 4, 6), (second, 4, 6)]
    assert all(map(same, stepwise, whole))


def test_an_interruption_costs_the_training_at_hand(tmp_path: Path) -> None:
    with InProcess() as here:
        expected = trained(tmp_path / "whole", here)
    with Recording(stop_at=1) as stopped, pytest.raises(KeyboardInterrupt):
        trained(tmp_path / "stopped", stopped)
    with Recording() as again:
        found = trained(tmp_path / "stopped", again)
    assert len(again.ran) == 1
    assert all(map(same, found, expected))


@pytest.mark.slow
def test_it_does_not_depend_on_the_number_of_workers(tmp_path: Path) -> None:
    with InProcess() as one, LocalProcesses(2) as two:
        alone, together = (trained(tmp_path / str(e.size), e, count=4) for e in (one, two))
    assert all(map(same, alone, together))


def test_progress_counts_iterations(tmp_path: Path) -> None:
    events: list[Event] = []
    with InProcess() as here:
        trained(tmp_path, here, events=events)
    assert {e.phase for e in events} == {"short training"}
    assert [(e.kind, e.done, e.total) for e in events] == [("start", 0, 12), ("step", 6, 12), ("step", 12, 12)]


def test_one_that_diverges_is_named_and_the_others_go_on(tmp_path: Path) -> None:
    """By an inner rate of one layer that only the deeper network has. It is not trained again, and no longer one is."""
    setup, events = tiny_setup(), list[Event]()
    state = state_of(setup)
    state["lslr/conv2.weight"] += torch.inf
    shallow, deep = archs(setup)
    with Recording() as here:
        good, bad = trained(tmp_path, here, 2, state=state, events=events)
        assert (bad, len(here.ran)) == ({}, 2)
        assert good
        trained(tmp_path, here, 2, state=state)
        assert len(here.ran) == 2
        assert trained(tmp_path, here, 6, state=state)[1] == {}
    (note,) = (e.text for e in events if e.kind == "note")
    assert "'depth': 2" in note
    assert "diverged within 2 iterations" in note
    with InProcess() as here, pytest.raises(DivergenceError):
        retrain(setup, state, deep, CONFIG, here, phase="retrain", folder=tmp_path / "whole", emit=lambda e: None)
    assert shallow != deep


def test_a_damaged_state_is_named_with_what_to_do(tmp_path: Path) -> None:
    with InProcess() as here:
        trained(tmp_path, here, 2, count=1)
        (weights,) = tmp_path.glob("*.safetensors")
        weights.write_bytes(weights.read_bytes()[:-1] + b"x")
        with pytest.raises(DataError, match="its checksum does not hold") as damaged:
            trained(tmp_path, here, 2, count=1)
    assert "the network is then trained again" in str(damaged.value.hint)


def test_tasks_and_networks_are_not_made_anew_for_each(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A source may read gigabytes, and check its classes, when it is first used."""
    setup, made = tiny_setup(), list[int]()
    original = type(setup.space).supernet
    monkeypatch.setattr(type(setup.space), "supernet", lambda *given: made.append(1) or original(*given))
    with InProcess() as here:
        trained(tmp_path, here, 1, setup=attrs.evolve(setup))
    assert len(made) == 1
