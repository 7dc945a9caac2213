"""Get the network that a run found ready for use: its best weights, adapted to a task."""

from __future__ import annotations

from collections.abc import Callable

from hnas.architecture import Architecture
from hnas.errors import ConfigError, DataError
from hnas.learner import State
from hnas.toolkit.pictures import PictureTask, Preparation
from hnas_app.config.changes import removed_values
from hnas_app.config.network_text import read_network
from hnas_app.export.classifier import Classifier, classifier
from hnas_app.export.files import Subject, told
from hnas_app.runs.pipeline import Pipeline
from hnas_app.training.checkpoint import load_latest
from hnas_app.training.setup.fewer_classes import with_classes
from hnas_app.training.setup.setup import Setup

PURPOSE = "export-task"
"""The stream whose first task is the example."""


Tuned = Callable[[Setup, State, Architecture, PictureTask], tuple[Setup, int | None]]


def found_network(
    phases: Pipeline, given: tuple[Preparation, PictureTask] | None, tuned: Tuned, network: str = ""
) -> tuple[Setup, Classifier, Subject]:
    """Adapt a run's network to the pictures given, or to an example: a task of the validation split.

    ``network`` is another one than that which was found, as `read_network` takes it. ``tuned`` is
    `hnas_app.own_task.steps.tuned`, which chooses how often to adapt to pictures.
    """
    found = phases.alone.found[1]
    arch = read_network(phases.setup.space, network) if network else found
    alone = arch == found and is_retrained(phases)
    setup, state = phases.weights(arch, alone=alone)
    _check_removed(phases, setup, state)
    if given is None:
        channels, height, width = setup.image_shape
        preparation = Preparation(channels=channels, height=height, width=width, invert=setup.tasks.inverted)
        classes = tuple(f"class {i + 1}" for i in range(setup.n_way))
        task, episode = "an example: the first validation task", setup.episodes("validation", PURPOSE, [0], 1)
    else:
        preparation, pictures = given
        setup, state = with_classes(setup, state, pictures.n_way)
        setup, _ = tuned(setup, state, arch, pictures)
        classes, episode = pictures.classes, pictures.episodes()
        task = told(pictures)
    subject = Subject(
        classes=classes, preparation=preparation, weights="re-trained" if alone else "super-net", task=task
    )
    return setup, classifier(setup, state, arch, episode), subject


def _check_removed(phases: Pipeline, setup: Setup, state: State) -> None:
    """Raise `ConfigError` if options were removed, unless the weights are of a network alone that fits without them."""
    removed = removed_values(phases.run.config_path, phases.config)
    if not removed:
        return
    fresh = setup.fresh_state("removed")
    if setup.alone is None or {k: v.shape for k, v in fresh.items()} != {k: v.shape for k, v in state.items()}:
        told = ", ".join(f"{k}={v!r}" for k, v in removed.items())
        raise ConfigError(
            f"the {'super-net' if setup.alone is None else 're-trained'} weights of {phases.run.path} cannot be "
            f"exported: {told} was removed",
            hint="use the version of hnas that wrote the run",
        )


def is_retrained(phases: Pipeline) -> bool:
    """Return whether the network that was found has been trained alone to its end. Raises `DataError` on damage."""
    damage: list[str] = []
    alone = phases.alone
    found = load_latest(alone.folder(alone.found[0]), "state", notify=damage.append)
    if damage:
        raise DataError(damage[0], hint=f"to train the network again: hnas retrain {phases.run.path}")
    config = phases.config.retrain
    return found is not None and (
        "kept" in found[1] or int(found[1]["iteration"]) >= config.epochs * config.iterations  # patience ends it early
    )
