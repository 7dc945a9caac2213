"""The check of a run's tasks before anything is computed: the classes it was trained with, and enough for each phase.

The classes are in ``splits.json`` of the run directory, written before training begins.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import TYPE_CHECKING

import attrs
import numpy as np
from attrs import field, frozen

from hnas.episode import EpisodeSpec
from hnas.errors import ConfigError, DataError
from hnas.events import Event, Listener
from hnas.task_source import SPLITS, Split
from hnas.toolkit.codec import load, save
from hnas_app.config.schema import Config
from hnas_app.runs.learner_check import check_learner
from hnas_app.runs.run_dir import SPLITS_FILE, RunDir
from hnas_app.training.meta_train import PHASE
from hnas_app.training.setup.classes import classes_of, refuse_trained_on
from hnas_app.training.setup.returned import n_classes, sampled

if TYPE_CHECKING:
    from hnas_app.training.setup.setup import Setup

DRAWING = (PHASE, "adapt", "retrain", "evaluate")
"""The phases that draw tasks."""


@frozen(kw_only=True)
class Splits:
    """``splits.json``: the classes of each split with digests of their content, by the name of the task source.

    There are several sources if a run branched to another one.
    """

    schema: int = field(default=1, metadata={"unsealed": 0})
    sources: dict[str, dict[str, dict[str, str]]] = field(factory=dict)


def recorded_splits(run: RunDir) -> Splits:
    """Return the classes that a run was trained with; none before training, or if an older hnas trained it."""
    path = run.path / SPLITS_FILE
    if not path.is_file() or not run.phase(PHASE):
        return Splits()
    return load(path, Splits, hint="copy it from the run that this one branched from, or start a new run")


def with_record(setup: Setup, run: RunDir, source: str) -> Setup:
    """Return the set-up that draws tasks of the classes only that ``run`` was trained with."""
    return attrs.evolve(setup, recorded=recorded_splits(run).sources.get(source))


def check_tasks(setup: Setup, run: RunDir, config: Config, phases: Collection[str], emit: Listener) -> Setup:
    """Check the tasks of ``run`` for ``phases``, and record the classes unless that was done; return the set-up to use.

    Raises `DataError` that names the classes which differ from those that the run was trained with, and the settings
    that a split has too few classes or images for.
    """
    setup, note = checked(setup, run, config, phases)
    splits = recorded_splits(run)
    if setup.recorded and config.tasks.name not in splits.sources:
        classes = {split: dict(members) for split, members in setup.recorded.items()}
        save(run.path / SPLITS_FILE, Splits(sources={**splits.sources, config.tasks.name: classes}))
    if note:
        emit(Event(phase="run", kind="note", text=note))
    return setup


def checked(setup: Setup, run: RunDir, config: Config, phases: Collection[str]) -> tuple[Setup, str]:
    """Return the set-up to use for ``phases``, and a sentence for the user; raise as `check_tasks`, and write nothing.

    For a run that is to branch from ``run``, too: ``config`` is then that of the new one.
    """
    splits, name, note = recorded_splits(run), config.tasks.name, ""
    setup = attrs.evolve(setup, recorded=splits.sources.get(name))
    if setup.recorded:
        more = sum(n_classes(setup.tasks, s) - n_classes(setup.source, s) for s in SPLITS)
        if more:
            note = f"classes were added to the data since the run began: it goes on without them ({more})"
    check_needs(setup, config, phases)  # first: it is quick, and the digests of a large folder are not
    if not setup.recorded and (found := classes_of(setup.tasks)):
        refuse_trained_on(found, splits.sources)
        setup = attrs.evolve(setup, recorded=found)
        if splits.sources:
            trained = " and ".join(splits.sources)
            note = f"the run was trained with {trained}: the classes of {name} were compared with those by content only"
        elif run.phase(PHASE):
            note = (
                "an older hnas trained the run and did not record its classes, so those of today could not be compared "
                "with them; they are recorded now"
            )
    return setup, note


@frozen
class _Need:
    """A setting that images of each class are needed for."""

    split: Split
    n_query: int
    setting: str


def _needs(config: Config, phases: Collection[str]) -> Iterator[_Need]:
    for phase, section, splits in (
        ("evaluate", "evaluate", SPLITS[2:]),
        ("adapt", "search", SPLITS[1:2]),
        (PHASE, "meta_train", SPLITS[:2]),
        ("retrain", "retrain", SPLITS[:2]),
    ):
        n_query: int = getattr(config, section).n_query
        for split in splits:
            if phase in phases:
                yield _Need(split, n_query, f"{section}.n_query={n_query}")


def check_needs(setup: Setup, config: Config, phases: Collection[str]) -> None:
    """Draw a task for each need, apart from the run's streams; raise the mistakes of all in one `DataError`.

    Raises `ConfigError` as `check_learner` does, and if the learner needs ids of classes that the source does not give.
    """
    check_learner(setup, config, phases)
    mistakes: dict[str, list[_Need]] = {}
    hints: dict[str, None] = {}
    for need in _needs(config, phases):
        n_way, k_shot = setup.size(need.split)
        spec = EpisodeSpec(n_way=n_way, k_shot=k_shot, n_query=need.n_query)
        try:
            drawn = sampled(setup.source, need.split, spec, [np.random.default_rng(0)], setup.image_shape)
            if setup.learner.needs_classes and need.split == "train" and drawn.classes is None:
                raise ConfigError(
                    f"learner {config.learner.name!r} needs the ids of classes, and tasks {config.tasks.name!r} have "
                    "none (Episodes.classes)",
                    hint="take a task source that knows its classes, such as glyphs, or another learner",
                )
        except DataError as cause:
            mistakes.setdefault(str(cause), []).append(need)
            if len({n.split for n in mistakes[str(cause)]}) > 1:
                raise  # not for want of classes or images in a split: the data cannot be read
            hint = _of_training(config, cause.hint or "") if need.split == "train" else cause.hint
            hints |= {hint: None} if hint else {}
    if mistakes:
        told = "\n".join(
            f"{_size(setup, config, needs[0].split)}, {', '.join(n.setting for n in needs)}: {why}"
            for why, needs in mistakes.items()
        )
        raise DataError(f"tasks of these settings cannot be drawn:\n{told}", hint="; ".join(hints) or None)


def _size(setup: Setup, config: Config, split: Split) -> str:
    """Return the size of a split's tasks, by the settings that it comes from."""
    n_way, k_shot = setup.size(split)
    told = f"task.n_way={n_way}, task.k_shot={k_shot}"
    return _of_training(config, told) if split == "train" else told


def _of_training(config: Config, text: str) -> str:
    """Name the settings of training tasks in a text about the size of a task, if they have a size of their own."""
    for key in ("n_way", "k_shot"):
        if getattr(config.meta_train, key):
            text = text.replace(f"task.{key}", f"meta_train.{key}")
    return text
