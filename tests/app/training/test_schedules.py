"""Schedules of a space's and a learner's own: found by name, trained by, resumed; wrong ones end before a training."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import attrs
import pytest
import torch
from tiny_tasks import tiny_setup

from hnas import Architecture, ConfigError, PluginError, Progress
from hnas.seeds import Seeds
from hnas.space import Schedule
from hnas_app.cli import run
from hnas_app.config.schema import MetaTrainConfig
from hnas_app.executors.in_process import InProcess
from hnas_app.executors.local_processes import LocalProcesses
from hnas_app.training import outer_loop
from hnas_app.training.meta_train import meta_train
from hnas_app.training.sampling.architectures import check_sampling, sampler_of
from hnas_app.training.setup.setup import Setup
from hnas_plugins.meta_learners.maml import MAML
from hnas_plugins.meta_learners.options import MAMLPlusPlusOptions
from hnas_plugins.spaces.vgg9 import VGG9, VGG9Options

CONFIG = MetaTrainConfig(epochs=2, iterations=4, tasks=3, n_query=2, validate_tasks=5)


class Staged(VGG9):
    """Trains its largest network first, then random ones of the full depth, then any: a shrinking in stages."""

    def schedules(self) -> Mapping[str, Schedule]:
        return {"stages": self.stages}

    def stages(self, generator: Any, iteration: int, total: int, count: int) -> list[Architecture]:
        if iteration < total // 4:
            return [self.largest()]
        drawn = [self.sample(generator) for _ in range(count)]
        return [self.architecture(**{**self.options(a), "depth": 4}) for a in drawn] if 2 * iteration < total else drawn


class Sandwiched(MAML):
    """Needs the two ends of the space in each step, and trains one fixed network by another schedule."""

    def schedules(self, space: Any) -> Mapping[str, Schedule]:
        ends = [space.largest(), space.smallest()]
        return {
            "ends": lambda generator, i, total, count: [*ends, *(space.sample(generator) for _ in range(count - 2))],
            "fixed": lambda *_: [space.smallest()],
        }


@pytest.fixture
def setup() -> Setup:
    learner = Sandwiched(MAMLPlusPlusOptions(inner_steps=1, msl_epochs=1, first_order_epochs=1))
    return attrs.evolve(tiny_setup(), space=Staged(VGG9Options(base_width=4)), learner=learner)


def drawn(setup: Setup, name: str, iterations: range = range(8), **settings: Any) -> list[list[Architecture]]:
    config = attrs.evolve(CONFIG, sampling=name, **settings)
    sampler = sampler_of(setup.space, config, setup.seeds, learner=setup.learner)
    return [list(sampler(Progress(iteration=i, iterations_per_epoch=4, epochs=2))) for i in iterations]


def test_a_space_shrinks_in_stages_of_its_own(setup: Setup) -> None:
    space, archs = setup.space, drawn(setup, "space:stages", architectures=2)
    assert archs[:2] == [[space.largest()]] * 2
    assert {space.options(a)["depth"] for some in archs[2:4] for a in some} == {4}
    assert len({a for some in archs[4:] for a in some}) > 4


def test_a_learner_needs_both_ends_or_one_network(setup: Setup) -> None:
    ends = [setup.space.largest(), setup.space.smallest()]
    archs = drawn(setup, "learner:ends", architectures=3)
    assert all(some[:2] == ends for some in archs)
    assert len({a for some in archs for a in some[2:]}) > 4
    assert drawn(setup, "learner:fixed") == [[setup.space.smallest()]] * 8


def test_it_depends_on_seed_and_iteration_only(setup: Setup) -> None:
    whole = drawn(setup, "space:stages", architectures=3)
    assert drawn(setup, "space:stages", range(5, 8), architectures=3) == whole[5:]
    assert drawn(attrs.evolve(setup, seeds=Seeds(1)), "space:stages", architectures=3) != whole


def trained(setup: Setup, folder: Path, workers: Any, name: str = "learner:ends") -> Any:
    return meta_train(setup, attrs.evolve(CONFIG, sampling=name), workers, folder=folder, emit=lambda event: None)


def test_a_training_by_one_goes_on_to_the_last_bit(
    setup: Setup, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with InProcess() as here:
        expected = trained(setup, tmp_path / "whole", here)
        other = trained(setup, tmp_path / "other", here, "space:stages")
        whole, calls = outer_loop.meta_gradient, list[int]()

        def interrupted(*args: Any) -> Any:
            calls.append(1)
            if len(calls) == 6:
                raise KeyboardInterrupt
            return whole(*args)

        monkeypatch.setattr(outer_loop, "meta_gradient", interrupted)
        with pytest.raises(KeyboardInterrupt):
            trained(setup, tmp_path / "stopped", here)
        again = trained(setup, tmp_path / "stopped", here)
    assert len(calls) == 6 + 3
    assert all(torch.equal(again[k], v) for k, v in expected.items())
    assert any(not torch.equal(other[k], v) for k, v in expected.items())


@pytest.mark.slow
def test_with_more_workers_it_trains_the_same_networks(tmp_path: Path) -> None:
    """To the last bit."""
    setup = attrs.evolve(tiny_setup(), space=Staged(VGG9Options(base_width=4)))
    with InProcess() as one:
        alone = trained(setup, tmp_path / "one", one, "space:stages")
    with LocalProcesses(2) as two:
        together = trained(setup, tmp_path / "two", two, "space:stages")
    assert all(torch.equal(together[k], v) for k, v in alone.items())


def test_an_unknown_name_is_refused_with_what_there_is(setup: Setup) -> None:
    with pytest.raises(ConfigError, match=r"'space:stage'.*Did you mean 'space:stages'") as refused:
        drawn(setup, "space:stage")
    assert "There are shrinking, uniform, attentive, sandwich, ofa, space:stages, learner:ends, learner:fixed" in str(
        refused.value
    )


def test_a_misspelt_one_of_hnas_is_refused_with_the_configuration(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["config", "show", "--set", "meta_train.sampling=sandwhich"]) == 3
    told = capsys.readouterr().err
    assert "'space:NAME' or 'learner:NAME', got 'sandwhich'. Did you mean 'sandwich'?" in told


MEMORY: list[int] = []
BAD: dict[str, tuple[Callable[..., Any], str]] = {
    "nothing": (lambda *_: None, r"schedules\(\)\['nothing'\]\(\), returned None; expected architectures"),
    "none": (lambda *_: [], "returned 0 architectures; expected 1 to 3"),
    "many": (lambda s, g, *_: (s.sample(g) for _ in range(40)), r"returned \d+ architectures; expected 1 to 3 "),
    "genes": (lambda *_: [(0, 1)], r"returned \[\(0, 1\)\]; expected architectures"),
    "foreign": (lambda *_: [Architecture("other", (0,))], "is of space 'other'.*expected members of vgg9"),
    "late": (lambda s, g, i, *_: [s.largest() if i < 7 else 5], r"returned \[5\]"),
    "memory": (lambda s, g, i, *_: MEMORY.append(1) or [s.largest() if len(MEMORY) < 9 else s.smallest()], "same arch"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_wrong_one_ends_before_anything_is_trained(
    setup: Setup, tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    draw, message = BAD[name]
    monkeypatch.setattr(Staged, "schedules", lambda self: {name: lambda *given: draw(self, *given)})
    with InProcess() as here, pytest.raises(PluginError, match=message):
        trained(setup, tmp_path, here, f"space:{name}")
    assert list(tmp_path.iterdir()) == []


def test_schedules_that_are_none_are_refused(setup: Setup, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Staged, "schedules", lambda self: ["stages"])
    with pytest.raises(PluginError, match=r"in schedules\(\), returned \['stages'\]; expected functions by name"):
        check_sampling(setup.space, setup.learner, attrs.evolve(CONFIG, sampling="space:stages"), setup.seeds)


def test_a_command_refuses_it_before_it_makes_a_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["meta-train", "--run-dir", str(tmp_path / "run"), "--set", "meta_train.sampling=learner:ends"]
    assert run(command) == 3
    assert "'learner:ends', but there is no such schedule" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()
