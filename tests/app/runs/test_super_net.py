"""A run that starts from a super-net has the network that it states, or is refused with the settings that differ."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Any

import attrs
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import hnas
from hnas.toolkit.pictures import Preparation
from hnas_app.cli import run as command_line
from hnas_app.config.dump import after_training
from hnas_app.config.load import load_config
from hnas_app.export.classifier import classifier
from hnas_app.export.files import Subject, write_architecture
from hnas_app.runs.run_dir import RunDir
from hnas_app.runs.session import setup_of
from hnas_app.runs.super_net import check_super_net
from hnas_app.training.checkpoint import load_latest, save_checkpoint

TINY: dict[str, Any] = {
    "space.base_width": 4,
    "space.norms": "activation",
    "learner.inner_steps": 2,
    "task.n_way": 3,
    "strategy.population": 4,
    "strategy.iterations": 1,
    "meta_train.epochs": 1,
    "meta_train.iterations": 1,
    "meta_train.tasks": 1,
    "search.tasks": 2,
    "search.pool": 4,
    "search.n_query": 2,
    "search.final_tasks": 2,
}
SPACES: dict[str, dict[str, list[Any]]] = {
    "vgg9": {
        "base_width": [4, 5, 8],
        "ge": [True, False],
        "anl": [True, False],
        "pool": [1, 2],
        "downsample": ["stride", "pool"],
        "norms": ["activation", "shared"],
        "classifier": ["own", "shared"],
        "kernels": ["crop", "transform"],
    },
    "resnet12": {
        "base_width": [4, 5, 8],
        "ge": [True, False],
        "anl": [True, False],
        "pool": [1, 2],
        "norms": ["activation", "shared"],
        "classifier": ["own", "shared"],
    },
}
"""Values of every option of the built-in spaces."""
LEARNER: dict[str, list[Any]] = {
    "inner_steps": [1, 2, 3],
    "inner_lr": [0.1, 0.2],
    "meta_lr": [1e-3, 1e-2],
    "meta_lr_end": [1e-5, 0.0],
    "gradient_clamp": [0.0, 1.0],
    "second_order": [True, False],
    "multi_step_loss": [True, False],
    "msl_epochs": [10, 1],
    "derivative_order_annealing": [True, False],
    "first_order_epochs": [50, 1],
    "per_step_statistics": [True, False],
    "per_step_norm": [True, False],
    "learned_rates": [True, False],
    "rate_scaling": ["none", "linear"],
    "rates_lr_factor": [1.0, 2.0],
    "distillation": [0.0, 0.5],
    "drop_block": [0.0, 0.1],
    "cosine_annealing": [True, False],
    "statistics": ["batch", "running"],
    "batch_below_gflop": [0.3, 0.0],
    "precision": ["float32"],
    "cuda_graphs": [True, False],
}


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> dict[str, RunDir]:
    """The super-net of each built-in space, after an iteration of training."""
    root = tmp_path_factory.mktemp("runs")
    names: dict[str, Any] = {"tasks": "tiny_tasks:TinyTasks", "backend": "tiny_board:TinyBoard", "preset": "none"}
    made = (
        hnas.run(space=space, settings=TINY, run_dir=root / space / "run", until="meta-train", **names)
        for space in SPACES
    )
    return {space: RunDir(run.path) for space, run in zip(SPACES, made, strict=True)}


def adapted(run: RunDir, *words: str) -> int:
    return command_line(["adapt", str(run.path), "--workers", "1", *words])


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ("space.base_width=8", "space.base_width: 4 in the run, 8 now"),
        ("space.norms=shared", "space.norms: 'activation' in the run, 'shared' now"),
        ("space.classifier=shared", "space.classifier: 'own' in the run, 'shared' now"),
        ("space.pool=2", "space.pool: 1 in the run, 2 now"),
        ("space.name=resnet12", "space.name: 'vgg9' in the run, 'resnet12' now"),
        ("learner.inner_steps=8", "learner.inner_steps: 2 in the run, 8 now"),
        ("learner.inner_steps=1", "learner.inner_steps: 2 in the run, 1 now"),
        ("learner.inner_lr=0.2", "learner.inner_lr: 0.1 in the run, 0.2 now"),
        ("learner.per_step_norm=false", "learner.per_step_norm: True in the run, False now"),
        ("learner.name=maml", "learner.name: 'maml++' in the run, 'maml' now"),
        ("task.n_way=4", "task.n_way: 3 in the run, 4 now"),
        ("task.n_way=2", "task.n_way: 3 in the run, 2 now"),
        ("meta_train.epochs=2", "meta_train.epochs: 1 in the run, 2 now"),
        ("tasks.name=glyphs", "images: '1x8x8' in the run, '1x28x28' now"),
    ],
)
def test_what_made_the_super_net_cannot_be_changed_after_it(trained, capsys, changed, told):
    """The export would be of another network than its architecture.json and its limits, or the run would crash."""
    run = trained["vgg9"]
    assert adapted(run, "--set", changed) == 3
    err = capsys.readouterr().err
    assert f"error: the super-net of {run.path} was trained with other settings:\n" in err
    assert told in err
    assert f"hnas meta-train --config {run.config_path} " in err
    assert f"--set {changed}" in err
    assert [p.name for p in run.path.parent.iterdir()] == ["run"]
    assert adapted(run, "--set", changed, "--constraint", "params<=1ref", "--constraint", "macs<=1ref") == 3
    assert told in capsys.readouterr().err
    key, _, value = changed.partition("=")
    value = json.loads(value) if value[0].isdigit() or value == "false" else value
    with pytest.raises(hnas.ConfigError) as caught:
        hnas.load_run(run.path).branch(settings={key.removesuffix(".name"): value})
    assert told in str(caught.value)
    assert [p.name for p in run.path.parent.iterdir()] == ["run"]


def test_the_environment_counts_as_well(trained, capsys, monkeypatch):
    monkeypatch.setenv("HNAS_SPACE__BASE_WIDTH", "8")
    assert adapted(trained["vgg9"], "--constraint", "params<=1ref") == 3
    assert "space.base_width: 4 in the run, 8 now" in capsys.readouterr().err


def test_the_command_of_the_message_trains_such_a_super_net(trained, capsys, tmp_path):
    changed = ["--set", "space.base_width=5", "--set", "learner.rate_scaling=linear"]
    assert adapted(trained["vgg9"], *changed) == 3
    command = shlex.split(capsys.readouterr().err.partition("train such a super-net: hnas ")[2])
    run = RunDir(tmp_path / "run")
    assert command_line([*command, "--run-dir", str(run.path), "--workers", "1"]) == 0
    assert adapted(run, *changed) == 0


@pytest.mark.parametrize(
    "changed",
    [
        "seed=1", "task.k_shot=2", "learner.statistics=running", "learner.meta_lr=0.01", "search.tasks=3",
        "retrain.epochs=3", "evaluate.tasks=5", "strategy=random", "backend=eyeriss",
    ],
)  # fmt: skip
def test_what_acts_later_may_change(trained, changed):
    run = trained["vgg9"]
    config = load_config(hnas.Registry(), file=run.config_path, env={}, sets=[changed.split("=")]).config
    check_super_net(run, config, hnas.Registry())


def test_weights_of_other_shapes_than_the_settings_say_are_refused(trained, tmp_path):
    """As after a version of a plugin that builds another network from the same settings."""
    run = trained["vgg9"]
    copy = RunDir.create(load_config(hnas.Registry(), file=run.config_path, env={}).config, path=tmp_path / "run")
    found = load_latest(run.checkpoints / "meta-train", "state")
    assert found is not None
    state = {**found[0], "params/fc.bias": found[0]["params/fc.bias"][:2]}
    save_checkpoint(copy.checkpoints / "meta-train", "state-00000001", state, found[1])
    with pytest.raises(hnas.DataError, match="not trained to its end"):
        hnas.load_run(copy.path).branch()
    copy.set_phase("meta-train", "done")
    with pytest.raises(hnas.DataError, match=r"params/fc\.bias of \(2,\) torch\.float32, expected \(3,\) torch\.floa"):
        hnas.load_run(copy.path).branch()
    for path in (copy.checkpoints / "meta-train").iterdir():
        path.unlink()
    with pytest.raises(hnas.DataError, match="no whole checkpoint"):
        hnas.load_run(copy.path).branch()
    assert [p.name for p in tmp_path.iterdir()] == ["run"]


def test_every_option_is_among_those_tried():
    registry = hnas.Registry()
    for kind, name, tried in (*(("space", n, t) for n, t in SPACES.items()), ("learner", "maml++", LEARNER)):
        assert {f.name for f in attrs.fields(registry.options_class(kind, name))} == set(tried)


def changes(space: str) -> st.SearchStrategy[dict[str, Any]]:
    """Draw a few settings of a space and the learner, seldom all at their trained values."""
    options = {f"space.{k}": v for k, v in SPACES[space].items()} | {f"learner.{k}": v for k, v in LEARNER.items()}
    options |= {"task.n_way": [3, 2, 4], "task.k_shot": [1, 2]}
    return st.lists(st.sampled_from(sorted(options)), max_size=3, unique=True).flatmap(
        lambda keys: st.fixed_dictionaries({k: st.sampled_from(options[k]) for k in keys})
    )


def check_network(run: RunDir, changed: dict[str, Any], folder: Path, seed: int) -> None:
    """Check that the settings are refused by name, or that an exported network has the weights that it states."""
    registry = hnas.Registry()
    config = load_config(registry, file=run.config_path, env={}, arguments=changed).config
    own = load_config(registry, file=run.config_path, env={}).config
    refused = ""
    try:
        check_super_net(run, config, registry)
    except hnas.ConfigError as error:
        refused = str(error)
    if refused:
        assert "has no DropBlock" in refused or any(f"{key}: " in refused for key in changed)
        return
    assert config.space == own.space
    assert all(
        getattr(config.learner.options, k) == getattr(own.learner.options, k)
        for k in LEARNER
        if f"learner.{k}" not in after_training(config)
    )
    setup = setup_of(config, registry)
    found = load_latest(run.checkpoints / "meta-train", "state")
    assert found is not None
    arch = setup.space.sample(np.random.default_rng(seed))
    network = classifier(setup, found[0], arch, setup.episodes("validation", "test", [0], 1))
    subject = Subject(
        classes=("a", "b", "c"),
        preparation=Preparation(channels=1, height=8, width=8, invert=False),
        weights="super-net",
        task="a task",
    )
    stated = json.loads(write_architecture(folder, setup, network, subject).read_text())
    convolutions = [layer for layer in stated["layers"] if layer["op"] == "conv2d"]
    # A layer's parameters count the bias that a normalisation becomes on a device.
    folded = sum(layer["out_shape"][0] for layer in convolutions)
    params = {k: v[0] for k, v in network.params.items() if not k.startswith("stats/")}
    assert sum(v.numel() for v in params.values()) + folded == stated["params"]
    weights = sorted(tuple(v.shape[:2]) for v in params.values() if v.dim() == 4)
    assert weights == sorted((layer["out_shape"][0], layer["in_shape"][0]) for layer in convolutions)


SHARED = {"deadline": None, "suppress_health_check": [HealthCheck.function_scoped_fixture, HealthCheck.too_slow]}


@pytest.mark.parametrize("space", sorted(SPACES))
@settings(max_examples=8, **SHARED)  # type: ignore[arg-type]
@given(data=st.data(), seed=st.integers(0, 1000))
def test_random_settings_are_refused_or_give_the_network_that_is_stated(trained, tmp_path, space, data, seed):
    check_network(trained[space], data.draw(changes(space)), tmp_path, seed)


@pytest.mark.slow
@pytest.mark.parametrize("space", sorted(SPACES))
@settings(max_examples=100, **SHARED)  # type: ignore[arg-type]
@given(data=st.data(), seed=st.integers(0, 1000))
def test_many_random_settings_are_refused_or_give_the_network_that_is_stated(trained, tmp_path, space, data, seed):
    check_network(trained[space], data.draw(changes(space)), tmp_path, seed)
