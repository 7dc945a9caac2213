"""The outer loop: it learns, the same again and after a stop, with any number of workers; it stops when it diverges."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_tasks import tiny_setup

from hnas import Progress
from hnas.architecture import Architecture
from hnas.errors import DivergenceError
from hnas.events import Event
from hnas.learner import State
from hnas_app.config.schema import MetaTrainConfig, RetrainConfig
from hnas_app.executors.in_process import InProcess
from hnas_app.executors.interface import Executor
from hnas_app.executors.interruption import interruptible
from hnas_app.training import outer_loop
from hnas_app.training.meta_train import meta_train
from hnas_app.training.outer_loop import TrainPlan, score_tasks, train
from hnas_app.training.retrain import retrain
from hnas_app.training.sampling.architectures import sampler_of
from hnas_app.training.setup.setup import Setup

PLAN = TrainPlan(epochs=2, iterations=4, tasks=3, n_query=2, validate_every=1, validate_tasks=5)
SHRINKING = MetaTrainConfig(epochs=2, iterations=4, shrink_start=0)


class Stop(Exception):
    """What ends a training in the middle here; a Ctrl-C does the same."""


@pytest.fixture(scope="module")
def alone() -> Iterator[Executor]:
    with InProcess() as executor:
        yield executor


def run(
    setup: Setup,
    executor: Executor,
    folder: Path,
    *,
    plan: TrainPlan = PLAN,
    stop_at: int | None = None,
    events: list[Event] | None = None,
    start: Callable[[], State] | None = None,
    arch: Architecture | None = None,
    until: int | None = None,
) -> State:
    sampler = sampler_of(setup.space, SHRINKING, setup.seeds)

    def sample(progress: Progress) -> Sequence[Architecture]:
        if progress.iteration == stop_at:
            raise Stop
        return [arch] if arch else sampler(progress)

    def initial() -> State:
        return setup.learner.init(setup.supernet, setup.seeds.torch("init"))

    told = [] if events is None else events
    return train(
        setup,
        plan,
        sample,
        executor,
        phase="meta-train",
        folder=folder,
        emit=told.append,
        start=start or initial,
        until=until,
    )


def same(one: State, other: State) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[k], other[k]) for k in one)


def must_not_start() -> State:
    pytest.fail("started again instead of going on from a checkpoint")


def test_it_learns(alone: Executor, tmp_path: Path) -> None:
    """Chance is 1/3. All parts of MAML++ together, first order and second, on tasks of classes never seen."""
    setup = tiny_setup()
    arch = setup.space.architecture(depth=2, kernel1=3, kernel2=3, scale1=2.0, scale2=2.0)
    plan = TrainPlan(epochs=2, iterations=40, tasks=4, n_query=5)
    state = run(setup, alone, tmp_path, plan=plan, arch=arch)
    fresh = setup.learner.init(setup.supernet, setup.seeds.torch("init"))
    setup.send(alone)
    before, after = (sum(score_tasks(alone, s, arch, "test", "test", 30, 5)[1]) / 30 for s in (fresh, state))
    assert before < 0.55
    assert after > 0.8


def test_the_same_seed_gives_the_same_weights(alone: Executor, tmp_path: Path) -> None:
    states = [run(tiny_setup(seed), alone, tmp_path / f"{i}") for i, seed in enumerate((1, 1, 2))]
    assert same(states[0], states[1])
    assert not same(states[0], states[2])


def test_every_iteration_has_tasks_of_its_own(alone: Executor, tmp_path: Path) -> None:
    """Of the training classes, and never the same twice: a stream that repeats would be learnt by heart."""
    setup, drawn = tiny_setup(), []
    sample = setup.tasks.sample

    def recorded(split: Any, *rest: Any) -> Any:
        episodes = sample(split, *rest)
        drawn.extend((split, images.sum().item()) for images in episodes.support_x)
        return episodes

    setup.tasks.sample = recorded  # type: ignore[method-assign]
    run(setup, alone, tmp_path, plan=TrainPlan(epochs=2, iterations=4, tasks=3, n_query=2, validate_every=2))
    assert {split for split, _ in drawn} == {"train"}
    assert len(drawn) == len(set(drawn)) == 8 * 3


@pytest.mark.parametrize("where", ["gradient", "update", "validation"])
def test_an_interruption_loses_no_iteration(
    where: str, alone: Executor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No checkpoint was due, and the step in hand is done before the end; the result is that of an untouched run."""
    expected, setup, called = run(tiny_setup(), alone, tmp_path / "whole"), tiny_setup(), 0
    owner, name = {
        "gradient": (outer_loop, "meta_gradient"),
        "update": (setup.learner, "update"),
        "validation": (outer_loop, "validate"),
    }[where]
    original = getattr(owner, name)

    def interrupted(*args: Any, **kwargs: Any) -> Any:
        nonlocal called
        called += 1
        if called == (1 if where == "validation" else 4):
            os.kill(os.getpid(), signal.SIGTERM)
        return original(*args, **kwargs)

    monkeypatch.setattr(owner, name, interrupted)
    with interruptible(), pytest.raises(KeyboardInterrupt):
        run(setup, alone, tmp_path / "cut")
    (saved,) = (tmp_path / "cut").glob("*.json")
    monkeypatch.undo()
    assert saved.stem == f"state-{3 if where == 'gradient' else 4:08d}"
    assert same(run(tiny_setup(), alone, tmp_path / "cut", start=must_not_start), expected)


def test_an_interruption_in_a_step_that_is_not_held_off_saves_nothing(alone: Executor, tmp_path: Path) -> None:
    """As in a notebook, where hnas sets no handler: a state that is half changed must not be gone on from."""
    setup = tiny_setup()

    def half(state: State, *_: Any) -> None:
        next(iter(state.values())).zero_()
        raise KeyboardInterrupt

    setup.learner.update = half  # type: ignore[method-assign]
    with pytest.raises(KeyboardInterrupt):
        run(setup, alone, tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("stop_at", [1, 4, 5, 7])
@pytest.mark.usefixtures("often")
def test_a_stop_changes_nothing(alone: Executor, tmp_path: Path, stop_at: int) -> None:
    """Bitwise, moments and statistics included; in the first epoch, at its end, behind it and before the last step."""
    setup = tiny_setup()
    whole = run(setup, alone, tmp_path / "whole")
    with pytest.raises(Stop):
        run(setup, alone, tmp_path / "stopped", stop_at=stop_at)
    events: list[Event] = []
    assert same(run(setup, alone, tmp_path / "stopped", events=events, start=must_not_start), whole)
    assert (events[0].kind, events[0].done, events[0].total) == ("start", stop_at, 8)
    assert same(run(setup, alone, tmp_path / "stopped", events=(again := []), start=must_not_start), whole)
    assert again == []  # a finished training is only read


@pytest.mark.parametrize("until", [1, 4, 6])
def test_a_training_in_parts_ends_as_in_one(alone: Executor, tmp_path: Path, until: int) -> None:
    """A race stops each training for a while. What was trained is not thrown away, to the last bit."""
    whole = run(tiny_setup(), alone, tmp_path / "whole")
    events: list[Event] = []
    part = run(tiny_setup(), alone, tmp_path / "parts", until=until, events=events)
    assert [p.stem for p in sorted((tmp_path / "parts").glob("*.json"))] == [f"state-{until:08d}"]
    assert (events[-1].kind, events[-1].done) == ("end", until)
    assert not same(part, whole)
    assert same(run(tiny_setup(), alone, tmp_path / "parts", until=until, start=must_not_start), part)
    assert same(run(tiny_setup(), alone, tmp_path / "parts", start=must_not_start), whole)


@pytest.mark.usefixtures("often")
def test_a_stop_before_the_first_checkpoint_starts_again(alone: Executor, tmp_path: Path) -> None:
    setup = tiny_setup()
    with pytest.raises(Stop):
        run(setup, alone, tmp_path / "stopped", stop_at=0)
    assert same(run(setup, alone, tmp_path / "stopped"), run(setup, alone, tmp_path / "whole"))


@pytest.mark.usefixtures("often")
def test_a_damaged_checkpoint_costs_one_step_and_is_told(alone: Executor, tmp_path: Path) -> None:
    setup = tiny_setup()
    whole = run(setup, alone, tmp_path / "whole")
    with pytest.raises(Stop):
        run(setup, alone, tmp_path / "cut", stop_at=6)
    newest = tmp_path / "cut" / "state-00000006.safetensors"
    newest.write_bytes(newest.read_bytes()[:-1])
    events: list[Event] = []
    assert same(run(setup, alone, tmp_path / "cut", events=events, start=must_not_start), whole)
    assert events[0].kind == "note"
    assert "state-00000006.safetensors is damaged" in events[0].text
    assert events[0].text.endswith("going on from state-00000005")
    assert (events[1].kind, events[1].done) == ("start", 5)


@pytest.mark.usefixtures("often")
def test_what_is_told(alone: Executor, tmp_path: Path) -> None:
    """The terminal's progress, metrics.jsonl and the report read these."""
    events: list[Event] = []
    run(tiny_setup(), alone, tmp_path, events=events)
    assert {e.phase for e in events} == {"meta-train"}
    assert [e.kind for e in events] == ["start"] + ["step"] * 9 + ["end"]
    steps = [e for e in events if e.kind == "step" and "loss" in e.values]
    assert [(e.done, e.total) for e in steps] == [(i, 8) for i in range(1, 9)]
    assert [e.values["epoch"] for e in steps] == [1, 1, 1, 1, 2, 2, 2, 2]
    assert all(0 < e.values["loss"] < 10 and 0 <= e.values["accuracy"] <= 1 for e in steps)
    (validation,) = [e for e in events if "validation_loss" in e.values]  # the last epoch's is the test's
    assert (validation.done, validation.values["epoch"]) == (4, 1)
    assert 0 <= validation.values["validation_accuracy"] <= 1


@pytest.mark.usefixtures("often")
def test_a_loss_that_is_not_a_number_stops_the_training(alone: Executor, tmp_path: Path) -> None:
    """With the iteration, the architecture and the last good checkpoint; which stays as it was."""
    setup = tiny_setup()
    with pytest.raises(Stop):
        run(setup, alone, tmp_path, stop_at=3)
    kept = {p.name: p.read_bytes() for p in tmp_path.iterdir()}
    wild = tiny_setup(scale=1e37)  # no one's data, but the loss that a rate too high ends in
    with pytest.raises(DivergenceError) as caught:
        run(wild, alone, tmp_path, arch=setup.space.architecture(depth=2, kernel1=5))
    message = str(caught.value)
    assert "meta-train: the meta-loss is nan at iteration 3, with architecture {'depth': 2, 'kernel1': 5, " in message
    last = f"the last good checkpoint is {tmp_path / 'state-00000003.json'}"
    assert f"{last}; train anew at lower rates" in (caught.value.hint or "")
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir()} == kept


def test_weights_that_overflowed_are_not_saved(alone: Executor, tmp_path: Path) -> None:
    """The loss was still finite, the step behind it was not; nor must the end of a training hide it."""
    plan = TrainPlan(epochs=1, iterations=1, tasks=2, n_query=2)
    setup = tiny_setup()

    def start() -> State:
        state = setup.learner.init(setup.supernet, setup.seeds.torch("init"))
        state["outer/mean/params/fc.bias"][1] = torch.inf  # as a meta-gradient that overflowed leaves it
        return state

    with pytest.raises(DivergenceError) as caught:
        run(setup, alone, tmp_path, plan=plan, start=start)
    assert str(caught.value) == "meta-train: after iteration 0 these are no longer finite: params/fc.bias"
    assert f"no checkpoint was saved yet in {tmp_path}" in (caught.value.hint or "")
    assert list(tmp_path.iterdir()) == []


# -------------------------------------------------------------------- the phases on top of it


def test_the_meta_training_phase_follows_its_configuration(alone: Executor, tmp_path: Path) -> None:
    """Budget and schedule from ``[meta_train]``; its samples from the run's seed."""
    config = MetaTrainConfig(epochs=2, iterations=3, tasks=2, n_query=1, shrink_start=1, validate_tasks=2)
    events: list[Event] = []
    state = meta_train(tiny_setup(), config, alone, folder=tmp_path / "a", emit=events.append)
    assert (events[0].phase, events[0].total, events[-1].kind) == ("meta-train", 6, "end")
    assert same(meta_train(tiny_setup(), config, alone, folder=tmp_path / "b", emit=events.append), state)
    assert not same(meta_train(tiny_setup(1), config, alone, folder=tmp_path / "c", emit=events.append), state)


@pytest.mark.parametrize("start", ["scratch", "supernet"])
def test_retraining_has_the_architectures_own_weights(alone: Executor, tmp_path: Path, start: Any) -> None:
    """From fresh ones or from the super-net's; what is trained is no larger than the network that is deployed."""
    setup = tiny_setup()
    supernet = setup.learner.init(setup.supernet, setup.seeds.torch("meta-train-init"))
    supernet = {k: v + 0.25 if k.startswith("params/") else v for k, v in supernet.items()}
    arch = setup.space.architecture(depth=2, kernel1=3, kernel2=1, scale1=0.5, scale2=1.0)
    config = RetrainConfig(epochs=1, iterations=1, tasks=2, n_query=1, start=start)
    own, state = retrain(setup, supernet, arch, config, alone, phase="retrain", folder=tmp_path, emit=lambda e: None)
    assert own.alone == arch
    assert {k: tuple(v.shape) for k, v in state.items() if k.startswith("params/conv")} == {
        "params/conv1.weight": (2, 1, 3, 3),
        "params/conv2.weight": (4, 2, 1, 1),
    }
    inherited = supernet["params/conv1.weight"][:2, :1, 1:4, 1:4]
    moved = (state["params/conv1.weight"] - inherited).abs().max()  # one Adam step of 0.01 lies in between
    assert moved < 0.02 if start == "supernet" else moved > 0.1
    setup.send(alone)
    own.send(alone)
    assert len(score_tasks(alone, state, arch, "test", "t", 3, 2)[0]) == 3


def test_networks_are_retrained_on_the_same_tasks_whatever_their_names(alone: Executor, tmp_path: Path) -> None:
    """Else a race is decided by luck in tasks, too."""
    setup = tiny_setup()
    supernet = setup.learner.init(setup.supernet, setup.seeds.torch("meta-train-init"))
    arch = setup.space.architecture(depth=2, kernel1=3, kernel2=1, scale1=0.5, scale2=1.0)
    config = RetrainConfig(epochs=1, iterations=2, tasks=2, n_query=1)
    first, second = (
        retrain(setup, supernet, arch, config, alone, phase=p, folder=tmp_path / p, emit=lambda e: None)[1]
        for p in ("retrain", "retrain scaled")
    )
    assert all(torch.equal(second[name], value) for name, value in first.items())


def test_scoring_covers_every_task_once_in_order(alone: Executor) -> None:
    """Tasks go to the workers in chunks of 25; an accuracy over 600 of them must not miss or repeat one."""
    setup = tiny_setup()
    state = setup.learner.init(setup.supernet, setup.seeds.torch("init"))
    arch = setup.space.architecture(depth=1)
    setup.send(alone)
    losses, accuracies = score_tasks(alone, state, arch, "test", "stream", 53, 2)
    assert len(losses) == len(accuracies) == 53
    for i in (0, 24, 25, 49, 52):
        episodes = setup.episodes("test", "stream", [i], 2)
        assert setup.learner.score(setup.supernet, state, episodes, arch).loss.item() == pytest.approx(
            losses[i], rel=1e-4
        )
