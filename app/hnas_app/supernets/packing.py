"""A run's super-net, packed for others: weights, configuration and model card."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from typing import Any

import attrs
from attrs import frozen

from hnas.discovery import BUILT_IN, KINDS, Registry
from hnas.errors import ConfigError, DataError, quoted
from hnas.layer import Shape
from hnas.toolkit.codec import load, to_json
from hnas_app.config.dump import dump_toml
from hnas_app.config.load import load_config
from hnas_app.config.schema import Config
from hnas_app.runs.environment import recorded
from hnas_app.runs.results import Results
from hnas_app.runs.run_dir import RunDir
from hnas_app.runs.session import setup_of
from hnas_app.runs.super_net import origin_of
from hnas_app.runs.tasks_check import Splits, recorded_splits
from hnas_app.supernets.unpacking import SPLITS
from hnas_app.training.checkpoint import load_latest
from hnas_app.training.meta_train import PHASE, super_net_gone, super_net_misfit

MOST = 50
"""The most classes that a super-net is said to serve if its weights do not limit them."""
LICENCE = "not stated: write the terms of the weights, and of the data, here"


@frozen(kw_only=True)
class Packed:
    """A super-net, ready to be published."""

    weights: bytes
    config: bytes
    card: bytes
    licence: str
    image_shape: Shape
    n_way: tuple[int, int]
    requires: tuple[str, ...]
    """The distributions of other plugins that its configuration names."""

    def values(self) -> dict[str, str]:
        """Return what the descriptor of it has, as source code."""
        found = {"licence": json.dumps(self.licence), "requires": repr(self.requires)}
        found |= {"image_shape": repr(self.image_shape), "n_way": repr(self.n_way)}
        for part in ("weights", "config", "card"):
            content: bytes = getattr(self, part)
            found |= {f"{part}_sha256": hashlib.sha256(content).hexdigest(), f"{part}_size": str(len(content))}
        return found


def packed(run: RunDir, name: str, registry: Registry) -> Packed:
    """Pack the super-net of a run. Raises `DataError` for one that is not trained to its end, or damaged.

    Of the configuration this machine's settings, the device and the limits are left out; of the learnt state the parts
    that only its training needs. Raises `ConfigError` for a run of user code, which others do not have.
    """
    import safetensors.torch

    if not run.is_done(PHASE):
        raise DataError(
            f"the super-net of {run.path} is not trained to its end, so it cannot be packed",
            hint=f"finish it first: hnas meta-train --run-dir {quoted(run.path)}",
        )
    config = _portable(load_config(registry, file=run.config_path, env={}, instead=["backend"]).config, run)
    if (found := load_latest(run.checkpoints / PHASE, "state")) is None:
        raise super_net_gone(run.checkpoints / PHASE)
    state = {k: v.contiguous().clone() for k, v in found[0].items() if not k.startswith("outer/")}
    setup = setup_of(config, registry)
    if misfit := setup.misfit(state):
        raise super_net_misfit(run.path, config.learner.name, misfit)
    licence = origin.licence if (origin := origin_of(run)) else LICENCE
    n_way = (2, MOST if setup.any_n_way else config.task.n_way)
    metadata = {SPLITS: json.dumps(to_json(_trained_on(run, name)))}
    shape = setup.image_shape
    return Packed(
        weights=safetensors.torch.save(state, metadata),
        config=dump_toml(config).encode(),
        card="\n".join(_card(run, name, config, licence, shape, n_way)).encode(),
        licence=licence,
        image_shape=shape,
        n_way=n_way,
        requires=tuple(sorted(_requires(config, registry))),
    )


def _portable(config: Config, run: RunDir) -> Config:
    """Return a configuration without what belongs to one machine or one device. Raises `ConfigError` for user code."""
    own = [f"{k} {getattr(config, k).name!r}" for k in KINDS if ":" in getattr(config, k).name]
    if own:
        raise ConfigError(
            f"{run.path} was made with user code, which those who install its super-net do not have: {', '.join(own)}",
            hint="make a plugin of it first, which your super-net then requires: hnas plugins new KIND NAME",
        )
    usual = Config()
    tasks = config.tasks
    if "root" in attrs.fields_dict(type(tasks.options)):
        root = attrs.fields_dict(type(tasks.options))["root"].default
        tasks = attrs.evolve(tasks, options=attrs.evolve(tasks.options, root="" if root is attrs.NOTHING else root))
    here = {name: getattr(usual, name) for name in ("workers", "executor", "accelerator", "constraints")}
    return attrs.evolve(config, tasks=tasks, **here)


def _requires(config: Config, registry: Registry) -> set[str]:
    """Return the distributions, other than hnas, of the plugins that the super-net needs."""
    used = [registry.get(kind, getattr(config, kind).name) for kind in KINDS]
    return {f"{r.distribution}>={r.version}" for r in used if r.distribution != BUILT_IN}


def _trained_on(run: RunDir, name: str) -> Splits:
    """Return the classes that a run was trained on, so that tasks of these can be refused wherever it is used."""
    train = {
        f"{c} of {source}": digest
        for source, splits in recorded_splits(run).sources.items()
        for c, digest in splits.get("train", {}).items()
    }
    return Splits(sources={f"the data of super-net {name}": {"train": train}} if train else {})


def _card(run: RunDir, name: str, config: Config, licence: str, shape: Shape, n_way: tuple[int, int]) -> Iterator[str]:
    """Yield the lines of a model card: what the run knows, and places for what its author knows."""
    yield f"# Super-net `{name}`\n"
    yield "(What it is for, in two sentences.)\n"
    if origin := origin_of(run):
        yield f"Its weights are those of the {origin}.\n"
    yield f"- Space: `{config.space.name}`; learner: `{config.learner.name}`"
    yield f"- Images: {'x'.join(map(str, shape))} (channels, height, width)"
    yield f"- Classes in a task: {n_way[0]} to {n_way[1]}; trained on {config.meta_train.n_way or config.task.n_way}\n"
    yield "## Licence\n"
    yield f"{licence}\n"
    yield "## Data\n"
    classes = [s.get("train", {}) for s in recorded_splits(run).sources.values()]
    yield f"Tasks of `{config.tasks.name}`, {sum(map(len, classes)) or 'an unknown number of'} classes for training."
    yield "(Where the data come from, and their terms.)\n"
    yield "## Budget\n"
    m = config.meta_train
    yield f"{m.epochs} epochs of {m.iterations} meta-iterations, {m.tasks} tasks in each, seed {config.seed}."
    yield "(Processor or GPU, and hours.)\n"
    yield "## Accuracy\n"
    yield from _accuracies(run, config)
    yield "## Ranking\n"
    yield "(How well its scores rank networks: `benchmarks/ranking.py`.)\n"
    yield "## Limits\n"
    yield "(What it was not tested for.)\n"
    yield "## Versions\n"
    path = run.path / "environment.json"
    told: dict[str, Any] = recorded(path) if path.is_file() else {}
    versions = {"hnas": told.get("hnas", "unknown"), **told.get("packages", {})}
    yield ", ".join(f"{package} {version}" for package, version in versions.items()) + "\n"


def _accuracies(run: RunDir, config: Config) -> Iterator[str]:
    path = run.path / "evaluate.json"
    if not (run.is_done("evaluate") and path.is_file()):
        yield "(Not tested yet: `hnas evaluate RUN` before this is packed fills this in.)\n"
        return
    results = load(path, Results)
    yield f"{config.task.n_way}-way {config.task.k_shot}-shot; {results.protocol}\n"
    yield "| network | with the super-net's weights | trained alone |\n| --- | --- | --- |"
    for network in results.networks:
        yield f"| {network.name} | {network.zero_retrain} | {network.retrained} |"
    yield f"\nNearest class mean: {results.baseline}\n"
