"""Phase 3 for a task of the user's own: choose an architecture for it."""

from __future__ import annotations

from typing import Literal

import attrs

from hnas.errors import DataError
from hnas.learner import MetaLearner
from hnas.toolkit.pictures import PictureTask
from hnas_app.own_task.folds import episodes, folds, n_folds
from hnas_app.runs.pipeline import Pipeline
from hnas_app.runs.run_dir import RunDir
from hnas_app.search.adapt import Adaption
from hnas_app.training.checkpoint import load_latest, save_checkpoint
from hnas_app.training.fixed_norm import FixedNorm
from hnas_app.training.meta_train import PHASE
from hnas_app.training.setup.fewer_classes import with_classes
from hnas_app.training.setup.setup import Setup

AT_MOST = 10
"""Adaptions that score a network, two of each with five folds: so a search takes less than a minute on two cores."""


def fit_super_net(run: RunDir, setup: Setup, n_way: int) -> None:
    """Cut the super-net in a run directory down to ``n_way`` classes, once for all of the run's phases.

    ``setup`` is that of the run it was copied from.
    """
    folder = run.checkpoints / PHASE
    damage: list[str] = []
    found = load_latest(folder, "state", notify=damage.append)
    if found is None or damage:
        told = damage[0] if damage else f"{folder} holds no whole checkpoint of the super-net"
        raise DataError(told, hint="copy the run directory again")
    _, state = with_classes(setup, found[0], n_way)
    for path in folder.iterdir():
        path.unlink()
    save_checkpoint(folder, f"state-{int(found[1]['iteration']):08d}", state, found[1])


def check_comparable(task: PictureTask, learner: MetaLearner) -> None:
    """Raise `DataError` if the only pictures of a task are those adapted to, and the learner cannot compare by them."""
    if task.k_shot == 1 and not task.n_query and not learner.support_scores:
        raise DataError(
            "one labelled picture of each class and none in query/: networks of this learner cannot be compared by the "
            "pictures that they are adapted to",
            hint="give two pictures of each class, of which one is held out in turn, or some in query/",
        )


def choose(phases: Pipeline, task: PictureTask) -> tuple[Adaption, str]:
    """Search the architecture for a task; return also how it was chosen. The artefacts are those of any search.

    With several labelled pictures of a class some are held out in turn. With one, the loss is that of the query
    pictures; without any, that of the support pictures after adapting to them, unless `check_comparable` refuses it.
    """
    given = task.episodes()
    on: Literal["query", "support"] = "query"
    if task.k_shot > 1:
        held_out = min(phases.config.search.tasks, AT_MOST)
        repeats = max(1, held_out // n_folds(task.k_shot))
        given = episodes(task, folds(task.shots, repeats))
        often = f", {repeats} times" if repeats > 1 else ""
        fitness = f"loss on held-out labelled pictures, {n_folds(task.k_shot)} folds{often}"
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
