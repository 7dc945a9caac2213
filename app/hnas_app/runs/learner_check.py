"""What a learner declares about itself, against the settings of a run: checked before anything is computed."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING

import attrs

from hnas.errors import ConfigError
from hnas_app.config.schema import Config, LoadedConfig
from hnas_app.training.meta_train import PHASE

if TYPE_CHECKING:
    from hnas.discovery import Registry
    from hnas_app.training.setup.setup import Setup

FITNESS = "search.fitness"


def suited(loaded: LoadedConfig, registry: Registry) -> tuple[Config, str]:
    """Return a configuration without preset values that its learner cannot serve, and a sentence for the user."""
    config, learner = loaded.config, loaded.config.learner
    if config.search.fitness == "query" or loaded.is_set_by_user(FITNESS):
        return config, ""
    if registry.create("learner", learner.name, learner.options).support_scores:
        return config, ""
    note = (
        f"{FITNESS} is query, not support ({loaded.origins[FITNESS]}): the loss on the images that a network of "
        f"learner {learner.name!r} was adapted to does not tell how good it is"
    )
    return attrs.evolve(config, search=attrs.evolve(config.search, fitness="query")), note


def check_learner(setup: Setup, config: Config, phases: Collection[str]) -> None:
    """Raise one `ConfigError` with the settings that the learner cannot serve in ``phases``."""
    name, n_way = f"learner {config.learner.name!r}", setup.size("train")[0]
    mistakes = {}
    if setup.learner.any_n_way and setup.learner.needs_classes and setup.supernet.any_n_way:
        mistakes[
            f"{name} trains an output for each class of the training split, and the super-net of space "
            f"{config.space.name!r} has one for all classes together"
        ] = "take a space whose outputs are each its own, such as space.classifier=own, or another learner"
    if setup.learner.needs_features and setup.supernet.head(setup.space.largest()) is None:
        mistakes[
            f"{name} needs the features before the classifier, and the super-net of space {config.space.name!r} does "
            "not name its classifier (SuperNet.head)"
        ] = "take a space that names it, such as vgg9 or resnet12, or a learner that does not compare features"
    if n_way != setup.n_way and not {PHASE, "retrain"}.isdisjoint(phases) and not setup.any_n_way:
        mistakes[
            f"meta_train.n_way={n_way}, task.n_way={setup.n_way}: {name} classifies by the super-net's outputs, so it "
            "is trained on tasks of as many classes as it is tested on"
        ] = "leave meta_train.n_way out, set space.classifier=shared, or take a learner that declares any_n_way"
    if config.search.fitness == "support" and not setup.learner.support_scores and "adapt" in phases:
        mistakes[
            f"{FITNESS}=support: the loss on the images that a network of {name} was adapted to does not tell how good "
            "it is"
        ] = f"--set {FITNESS}=query"
    if mistakes:
        raise ConfigError("\n".join(mistakes), hint="; ".join(mistakes.values()))
    if PHASE in phases:
        # In `init` a learner refuses super-nets that it cannot train: now, not after the device was measured.
        setup.fresh_state("check")
