"""The network that was chosen for a task of the user's own: adapted to it, and tested on it."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from attrs import frozen

from hnas.architecture import Architecture
from hnas.learner import State
from hnas.toolkit.pictures import PictureTask
from hnas_app.export.classifier import Classifier, classifier
from hnas_app.own_task.folds import episodes, folds, parts
from hnas_app.own_task.raw_pixels import RIVALS, Labels
from hnas_app.own_task.steps import tuned
from hnas_app.report.pictures import NETWORK, PictureResult, Rival, Tally
from hnas_app.runs.pipeline import Pipeline
from hnas_app.search.adapt import Adaption
from hnas_app.training.setup.setup import Setup


@frozen
class Answers:
    """The labels that pictures were given, by classifier."""

    truth: Labels
    labels: Mapping[str, Labels]

    def tally(self, name: str) -> Tally:
        return Tally.of_labels(self.labels[name], self.truth)

    def rival(self, name: str, held_out: Answers | None, query: Answers | None) -> Rival:
        """Return a classifier's result, its pictures compared one by one with the network's."""
        own, network = (self.labels[n] == self.truth for n in (name, NETWORK))
        return Rival(
            name=name,
            held_out=None if held_out is None else held_out.tally(name),
            query=None if query is None else query.tally(name),
            network_only=int((network & ~own).sum()),
            rival_only=int((own & ~network).sum()),
        )

    def confusion(self, n_way: int) -> tuple[tuple[int, ...], ...]:
        """Return how many pictures of each class (row) the network took for each class."""
        counts = np.zeros((n_way, n_way), int)
        np.add.at(counts, (self.truth, self.labels[NETWORK]), 1)
        return tuple(tuple(row) for row in counts.tolist())


def finish(
    phases: Pipeline, task: PictureTask, found: Adaption, fitness: str, *, alone: bool
) -> tuple[Classifier, PictureResult]:
    """Adapt the chosen architecture's weights to all labelled pictures, and count the pictures that it gets right."""
    arch = found.chosen.arch
    setup, state = phases.weights(arch, alone=alone)
    setup, steps = tuned(setup, state, arch, task)
    network = classifier(setup, state, arch, task.episodes())
    held_out = _held_out(setup, state, arch, task)
    query = Answers(_truth(task), _all(network, task)) if task.n_query else None
    last = query or held_out
    return network, PictureResult(
        classes=task.classes,
        k_shot=task.k_shot,
        shots=task.shots,
        steps=steps,
        arch=arch,
        options=phases.setup.space.options(arch),
        cost=found.chosen.cost,
        metrics=phases.profile().metrics,
        limits=tuple(limit.text for limit in phases.limits),
        fitness=fitness,
        loss=found.chosen.loss,
        retrained=alone,
        held_out=None if held_out is None else held_out.tally(NETWORK),
        query=None if query is None else query.tally(NETWORK),
        rivals=tuple(last.rival(name, held_out, query) for name in RIVALS) if last else (),
        confusion=last.confusion(task.n_way) if last else (),
    )


def query_tally(network: Classifier, task: PictureTask) -> Tally | None:
    """Count the query pictures that a network gets right, if there are any."""
    return Tally.of_labels(_labels(network, task), _truth(task)) if task.n_query else None


def _labels(network: Classifier, task: PictureTask) -> Labels:
    """Classify the query pictures of a task, each alone."""
    import torch

    with torch.no_grad():
        found: Labels = network.logits(task.episodes().query_x[0]).argmax(-1).numpy()
    return found


def _truth(task: PictureTask) -> Labels:
    return np.repeat(np.arange(task.n_way), [len(part) for part in task.query])


def _held_out(setup: Setup, state: State, arch: Architecture, task: PictureTask) -> Answers | None:
    """Classify the labelled pictures when they are held out, each the first time that it is."""
    if task.k_shot == 1:
        return None
    made, seen = folds(task.shots), set[tuple[int, int]]()
    adapted, found = episodes(task, made), dict[str, list[Labels]]()
    truth = []
    for number, (fold, part) in enumerate(zip(made, parts(task, made), strict=True)):
        pictures = [(c, i) for c, own in enumerate(fold.query) for i in own]
        first = [place for place, picture in enumerate(pictures) if picture not in seen]
        seen.update(pictures)
        network = classifier(setup, state, arch, adapted[number : number + 1])
        truth.append(_truth(part)[first])
        for name, labels in _all(network, part).items():
            found.setdefault(name, []).append(labels[first])
    return Answers(np.concatenate(truth), {name: np.concatenate(labels) for name, labels in found.items()})


def _all(network: Classifier, task: PictureTask) -> dict[str, Labels]:
    """Classify the query pictures of a task by a network, and by what needs none."""
    return {NETWORK: _labels(network, task), **{name: rival(task) for name, rival in RIVALS.items()}}
