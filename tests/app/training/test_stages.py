"""Sampling as Once-for-All trains: the full network, then kernels, depths and widths as well, stage by stage."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import attrs
import numpy as np
import pytest
from tiny_tasks import tiny_setup

from hnas import Architecture, ConfigError, Progress, Registry
from hnas.events import Event
from hnas.seeds import Seeds
from hnas_app.cli import run
from hnas_app.config.load import load_config
from hnas_app.config.schema import MetaTrainConfig
from hnas_app.executors.in_process import InProcess
from hnas_app.training.meta_train import meta_train
from hnas_app.training.sampling.architectures import check_sampling, sampler_of
from hnas_app.training.sampling.stages import skipped
from hnas_plugins.spaces.darts import Darts
from hnas_plugins.spaces.resnet12 import ResNet12, ResNet12Options
from hnas_plugins.spaces.vgg9 import VGG9, VGG9Options

CONFIG = MetaTrainConfig(epochs=4, iterations=100, sampling="ofa", architectures=4)


def drawn(space: Any, iterations: range, config: MetaTrainConfig = CONFIG, seed: int = 0) -> list[Architecture]:
    sampler = sampler_of(space, config, Seeds(seed))
    at = (Progress(iteration=i, iterations_per_epoch=config.iterations, epochs=config.epochs) for i in iterations)
    return [arch for progress in at for arch in sampler(progress)]


def seen(space: Any, archs: list[Architecture], prefix: str) -> set[Any]:
    """Return the options that some architecture takes in the choices with this prefix."""
    return {v for arch in archs for k, v in space.options(arch).items() if k.startswith(prefix)}


def test_what_each_stage_draws(tiny_space: Any) -> None:
    """Of 400 iterations the stages begin with the ones numbered 0, 120, 200 and 300."""
    full, kernels, depths, widths = (
        drawn(tiny_space, r) for r in (range(120), range(120, 200), range(200, 300), range(300, 400))
    )
    assert set(full) == {tiny_space.largest()}
    expected = [  # kernels, depths, widths, activations
        (full, {5}, {3}, {8}, {"relu"}),
        (kernels, {1, 3, 5}, {3}, {8}, {"relu", "elu"}),
        (depths, {1, 3, 5}, {1, 2, 3}, {8}, {"relu", "elu"}),
        (widths, {1, 3, 5}, {1, 2, 3}, {2, 4, 8}, {"relu", "elu"}),
    ]
    for archs, *options in expected:
        assert [seen(tiny_space, archs, prefix) for prefix in ("kernel", "depth", "width", "act")] == options


def test_the_borders_are_shares_of_the_training(tiny_space: Any) -> None:
    config = attrs.evolve(CONFIG, stages=(0.0, 0.01, 1.0))
    assert set(drawn(tiny_space, range(4), config)) != {tiny_space.largest()}
    assert seen(tiny_space, drawn(tiny_space, range(4), config), "depth") == {3}
    assert seen(tiny_space, drawn(tiny_space, range(4, 400), config), "depth") == {1, 2, 3}
    assert seen(tiny_space, drawn(tiny_space, range(4, 400), config), "width") == {8}


def test_the_last_stage_draws_from_the_whole_space(make_tiny_space: Callable[..., Any]) -> None:
    """As often as uniform sampling does; in 2,000 draws each of 342 networks, and the same ones from the generator."""
    space = make_tiny_space(depth=2)
    last = attrs.evolve(CONFIG, iterations=2000)
    assert set(drawn(space, range(6000, 8000), last)) == set(space.everything())
    sampler = sampler_of(space, CONFIG, Seeds(3))
    generator = Seeds(3).numpy("ofa", 399)
    expected = list(dict.fromkeys(space.sample(generator) for _ in range(4)))
    assert sampler(Progress(iteration=399, iterations_per_epoch=100, epochs=4)) == expected


def test_a_layer_that_another_depth_lacks_is_drawn_as_well(tiny_space: Any) -> None:
    """While the depth stands still, the kernels of the last layers vary as much as that of the first."""
    for i in (1, 2, 3):
        counts = [tiny_space.options(a)[f"kernel{i}"] for a in drawn(tiny_space, range(120, 200))]
        assert np.bincount(counts)[[1, 3, 5]].min() > 70  # of some 316, each of a third


def test_what_is_drawn_depends_on_seed_and_iteration_only(tiny_space: Any) -> None:
    whole = drawn(tiny_space, range(400))
    assert drawn(tiny_space, range(250, 400)) == whole[-len(drawn(tiny_space, range(250, 400))) :]
    assert drawn(tiny_space, range(400), seed=1) != whole


@pytest.mark.parametrize(
    ("space", "missing"),
    [
        (VGG9(), []),
        (VGG9(VGG9Options(ge=False)), ["width"]),
        (VGG9(VGG9Options(anl=False)), ["depth"]),
        (ResNet12(), ["depth"]),
        (ResNet12(ResNet12Options(anl=True)), []),
    ],
)
def test_a_stage_without_choices_goes_on_with_the_one_before(space: Any, missing: list[str]) -> None:
    assert skipped(space) == missing
    check_sampling(space, None, CONFIG, Seeds(0))
    kernels, depths, widths = (
        seen(space, drawn(space, r), "scale") for r in (range(120, 200), range(200, 300), range(300, 400))
    )
    assert kernels == depths
    assert (depths == widths) == ("width" in missing)


def test_a_skipped_stage_is_told_in_a_note(tmp_path: Path) -> None:
    setup = attrs.evolve(tiny_setup(), space=VGG9(VGG9Options(base_width=4, anl=False)))
    config = MetaTrainConfig(epochs=1, iterations=1, tasks=1, n_query=2, validate_tasks=2, sampling="ofa")
    events: list[Event] = []
    with InProcess() as here:
        meta_train(setup, config, here, folder=tmp_path, emit=events.append)
    notes = [e.text for e in events if e.kind == "note"]
    assert notes == ["vgg9 has no choice of depth to shrink: the stage before goes on"]


def test_a_space_without_numbers_is_refused_by_name(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Before anything is computed: cells have neither kernels nor depths to choose."""
    with pytest.raises(ConfigError, match="'ofa', but darts has no choice of kernel, depth or width"):
        check_sampling(Darts(), None, CONFIG, Seeds(0))
    words = ["meta-train", "--preset", "none", "--space", "darts", "--set", "meta_train.sampling=ofa"]
    assert run([*words, "--run-dir", str(tmp_path / "run")]) == 3
    assert "darts has no choice of kernel, depth or width" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("stages", ["[0.5, 0.3, 0.8]", "[0.3, 0.5, 1.1]", "[0.3, 0.5]", "0.3"])
def test_shares_that_do_not_ascend_are_refused(stages: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["config", "show", "--set", f"meta_train.stages={stages}"]) == 3
    assert "meta_train.stages" in capsys.readouterr().err


def test_shares_are_read_from_the_command_line_and_a_file(tmp_path: Path) -> None:
    assert run(["config", "init", str(tmp_path / "hnas.toml"), "--set", "meta_train.stages=[0.1, 0.2, 1]"]) == 0
    loaded = load_config(Registry(third_party=False), file=tmp_path / "hnas.toml", env={})
    assert loaded.config.meta_train.stages == (0.1, 0.2, 1.0)
