"""The classes that tasks are drawn from: those that a run recorded before it trained, against those that are there."""

from __future__ import annotations

from collections.abc import Mapping

from hnas.errors import DataError, first_few
from hnas.task_source import SPLITS, TaskSource

Classes = Mapping[str, Mapping[str, str]]
"""The digest of each class by its name, by split."""
HINT = (
    "give the run the data that it was trained on: --data-root names their folder, and its splits.json lists the "
    "classes; or start a new run with these"
)


def classes_of(tasks: TaskSource) -> Classes:
    """Return the classes of a source; empty if it does not know them."""
    found: Classes = {split: dict(tasks.class_digests(split)) for split in SPLITS}
    return found if any(found.values()) else {}


def kept_to(tasks: TaskSource, recorded: Classes | None) -> TaskSource:
    """Return the source of the ``recorded`` classes: ``tasks``, or what is left of it without classes added since.

    A source that does not know its classes is returned as it is. Raises `DataError` that names the differing classes.
    """
    if not recorded:
        return tasks
    found: Classes = {}
    for source in (tasks.restricted_to({name for members in recorded.values() for name in members}), tasks):
        found = classes_of(source) if source else {}
        if source and found in ({}, recorded):
            return source
    raise DataError(
        f"the classes of the tasks are not those that the run was trained with: {_differences(recorded, found)}",
        hint=HINT,
    )


def refuse_trained_on(found: Classes, trained: Mapping[str, Classes]) -> None:
    """Raise `DataError` if classes for validation or test have the content of classes that were trained on.

    ``trained`` are the classes of other sources, by the name of the source.
    """
    known = {digest: (name, source) for source, c in trained.items() for name, digest in c.get("train", {}).items()}
    again = [
        f"{name} ({split}) is {' of '.join(known[digest])}"
        for split in SPLITS[1:]
        for name, digest in found.get(split, {}).items()
        if digest in known
    ]
    if again:
        raise DataError(
            f"{len(again)} classes for validation or test were trained on: {first_few(again, most=8)}", hint=HINT
        )


def _differences(recorded: Classes, found: Classes) -> str:
    """Name the classes that were removed, added, moved to another split or changed, up to eight of each."""
    before, now = (
        {name: (split, digest) for split, members in classes.items() for name, digest in members.items()}
        for classes in (recorded, found)
    )
    moved = [n for n in before if n in now and before[n][0] != now[n][0]]
    changed = [n for n in before if n in now and before[n][1] != now[n][1]]
    kinds = {
        "removed": [f"{n} ({before[n][0]})" for n in before if n not in now],
        "added": [f"{n} ({now[n][0]})" for n in now if n not in before],
        "moved": [f"{n} ({before[n][0]}, now {now[n][0]})" for n in moved],
        "changed": [f"{n} ({now[n][0]})" for n in changed],
    }
    return "; ".join(f"{len(names)} {kind}: {first_few(names, most=8)}" for kind, names in kinds.items() if names)
