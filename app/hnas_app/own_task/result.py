"""The network that was chosen for a task of the user's own: adapted to it, and tested on it."""

from __future__ import annotations

from collections.abc import Mapping

from attrs import field, frozen

from hnas.architecture import Architecture, Option
from hnas.cost import Cost, Metric
from hnas.learner import State
from hnas.toolkit.pictures import PictureTask
from hnas_app.export.classifier import Classifier, classifier
from hnas_app.own_task.folds import folds
from hnas_app.runs.pipeline import Pipeline
from hnas_app.search.adapt import Adaption
from hnas_app.training.fixed_norm import FixedNorm
from hnas_app.training.setup.setup import Setup


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
    """The criterion that the architecture was chosen by."""
    loss: float
    """Its fitness, nats."""
    retrained: bool
    """Whether the network was trained alone before it was adapted, or has the super-net's weights."""
    held_out: Tally | None
    """Labelled pictures, classified by networks that were adapted to the others; the choice saw them, too."""
    query: Tally | None
    """The pictures in ``query/``."""
    schema: int = field(default=2, metadata={"unsealed": 1})


def finish(
    phases: Pipeline, task: PictureTask, found: Adaption, fitness: str, *, alone: bool
) -> tuple[Classifier, PictureResult]:
    """Adapt the chosen architecture's weights to all labelled pictures, and count the pictures that it gets right."""
    arch = found.chosen.arch
    setup, state = phases.weights(arch, alone=alone)
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
        query=_query(network, task),
    )


def _query(network: Classifier, task: PictureTask) -> Tally | None:
    """Count the query pictures that a network gets right, if there are any."""
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
