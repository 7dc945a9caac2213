"""Phase 3 for a task of the user's own: choose an architecture for it, adapt the weights to it, and test that."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import attrs
from attrs import frozen

from hnas.architecture import Architecture, Option
from hnas.cost import Cost, Metric
from hnas.errors import DataError
from hnas.learner import State
from hnas.toolkit.pictures import PictureTask
from hnas_app.export.classifier import Classifier, classifier
from hnas_app.own_task.folds import folds, n_folds
from hnas_app.runs.pipeline import Pipeline
from hnas_app.runs.run_dir import RunDir
from hnas_app.search.adapt import Adaption
from hnas_app.training.checkpoint import load_latest, save_checkpoint
from hnas_app.training.fixed_norm import FixedNorm
from hnas_app.training.meta_train import PHASE
from hnas_app.training.retrain import retrain
from hnas_app.training.setup.fewer_classes import with_classes
from hnas_app.training.setup.setup import Setup

AT_MOST = 10
"""Adaptions that score a network, two of each with five folds: so a search takes less than a minute on two cores."""


@frozen(kw_only=True)
class Tally:
    """How many images were classified right."""

    right: int
    of: int

    def __str__(self) -> str:
        return f"{self.right} of {self.of} right ({100 * self.right / self.of:.1f} %)"


@frozen(kw_only=True)
class PictureResult:
    """The network for a user's task. Every image was classified alone, with the statistics of the support images."""

    classes: tuple[str, ...]
    k_shot: int
    arch: Architecture
    options: Mapping[str, Option]
    cost: Cost
    metrics: tuple[Metric, ...]
    limits: tuple[str, ...]
    fitness: str
    """What the architecture was chosen by."""
    loss: float
    """Its fitness, nats."""
    retrained: bool
    """Whether the network was trained alone before it was adapted, or has the super-net's weights."""
    held_out: Tally | None
    """Labelled pictures, classified by networks that were adapted to the others; the choice saw them, too."""
    query: Tally | None
    """The pictures in ``query/``."""
    schema: int = 1


def fit_super_net(run: RunDir, setup: Setup, n_way: int) -> None:
    """Cut the super-net in a run directory down to ``n_way`` classes, once for all of the run's phases.

    ``setup`` is that of the run it was copied from.
    """
    folder = run.checkpoints / PHASE
    found = load_latest(folder, "state")
    if found is None:
        raise DataError(f"{folder} holds no whole checkpoint of the super-net", hint="copy the run directory again")
    _, state = with_classes(setup, found[0], n_way)
    for path in folder.iterdir():
        path.unlink()
    save_checkpoint(folder, f"state-{int(found[1]['iteration']):08d}", state, found[1])


def choose(phases: Pipeline, task: PictureTask) -> tuple[Adaption, str]:
    """Search the architecture for a task, and say what it was chosen by; the artefacts are those of any search.

    With several labelled pictures of a class some are held out in turn. With one, the loss is that of the query
    pictures; without any, that of the support pictures after adapting to them.
    """
    given = task.episodes()
    on: Literal["query", "support"] = "query"
    if task.k_shot > 1:
        held_out = min(phases.config.search.tasks, AT_MOST)
        repeats = max(1, held_out // n_folds(task.k_shot))
        given = folds(given, task.n_way, repeats)
        fitness = f"loss on held-out labelled pictures, {n_folds(task.k_shot)} folds, {repeats} times"
    elif task.n_query:
        fitness = "loss on the query pictures"
    else:
        fitness, on = "loss on the labelled pictures after adapting to them", "support"
    count = len(given)
    searched = attrs.evolve(
        phases.setup,
        learner=FixedNorm(phases.setup.learner),
        given=given,
        k_shot=given.support_x.shape[1] // task.n_way,
    )
    search = attrs.evolve(phases.config.search, tasks=count, pool=count, final_tasks=count, slice="fixed", fitness=on)
    config = attrs.evolve(phases.config, search=search)
    return attrs.evolve(phases, setup=searched, config=config).adapt(), fitness


def weights(phases: Pipeline, arch: Architecture, *, alone: bool) -> tuple[Setup, State]:
    """Return the weights to adapt: the super-net's, or those of the network trained ``alone``, which takes a while."""
    if not alone:
        return phases.setup, phases.meta_train()
    return retrain(
        phases.setup,
        phases.meta_train(),
        arch,
        phases.config.retrain,
        phases.executor,
        phase="retrain",
        folder=phases.run.checkpoints / "retrain-found",
        emit=phases.emit,
    )


def finish(
    phases: Pipeline, task: PictureTask, found: Adaption, fitness: str, *, alone: bool
) -> tuple[Classifier, PictureResult]:
    """Adapt the chosen architecture's weights to all labelled pictures, and count what it gets right."""
    arch = found.chosen.arch
    setup, state = weights(phases, arch, alone=alone)
    network = classifier(setup, state, arch, task.episodes())
    return network, PictureResult(
        classes=task.classes,
        k_shot=task.k_shot,
        arch=arch,
        options=phases.setup.space.options(arch),
        cost=found.chosen.cost,
        metrics=phases.profile().metrics,
        limits=tuple(limit.text for limit in phases.limits),
        fitness=fitness,
        loss=found.chosen.loss,
        retrained=alone,
        held_out=_held_out(setup, state, arch, task),
        query=query_tally(network, task),
    )


def query_tally(network: Classifier, task: PictureTask) -> Tally | None:
    """Count the query pictures that a network gets right, where there are any."""
    import torch

    if not task.n_query:
        return None
    episode = task.episodes()
    with torch.no_grad():
        right = network.logits(episode.query_x[0]).argmax(-1) == episode.query_y[0]
    return Tally(right=int(right.sum()), of=task.n_query)


def _held_out(setup: Setup, state: State, arch: Architecture, task: PictureTask) -> Tally | None:
    """Count the labelled pictures that are right when they are held out, each once."""
    if task.k_shot == 1:
        return None
    tasks = folds(task.episodes(), task.n_way)
    scores = FixedNorm(setup.learner).score(setup.supernet, state, tasks.to(setup.accelerator), arch)
    each = tasks.query_y.shape[1]
    return Tally(right=round(float(scores.accuracy.sum()) * each), of=len(tasks) * each)
