"""Tasks made of one: some labelled pictures of each class are held out, and classified by what saw the rest."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from attrs import frozen

from hnas.episode import Episodes
from hnas.toolkit.pictures import PictureTask

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

MOST_SHOTS = 10
"""With more labelled pictures of a class than this, a fold holds out a fifth of them; else one."""
FIFTH = 5


@frozen
class Fold:
    """The numbers of a task's labelled pictures, for each class: those adapted to, and those held out."""

    support: tuple[tuple[int, ...], ...]
    query: tuple[tuple[int, ...], ...]


def n_folds(k_shot: int) -> int:
    """Return the number of folds, which hold out each picture once; those that five do not divide are never held out.

    ``k_shot`` is that of the class with most pictures; a class with fewer than there are folds holds its own out again.
    """
    return k_shot if k_shot <= MOST_SHOTS else FIFTH


def folds(shots: Sequence[int], repeats: int = 1) -> list[Fold]:
    """Return ``repeats`` times `n_folds` folds of a task with ``shots`` labelled pictures of each class.

    Each fold holds out equally many pictures of a class, so all have one shape. A class of one picture keeps it. A
    repetition combines the held-out pictures of the classes anew, as far as there are other combinations.
    """
    count = n_folds(max(shots))
    if count < 2:
        raise ValueError("one image of a class cannot be held out: nothing would be left to adapt to")
    found = []
    for repeat in range(repeats):
        for fold in range(count):
            out = [_held_out(k, (fold + repeat * c) % count, count) for c, k in enumerate(shots)]
            rest = tuple(tuple(i for i in range(k) if i not in own) for k, own in zip(shots, out, strict=True))
            found.append(Fold(rest, tuple(map(tuple, out))))
    return found


def _held_out(k_shot: int, block: int, count: int) -> range:
    if k_shot < count:
        return range(block % k_shot, block % k_shot + (k_shot > 1))
    each = k_shot // count
    return range(block * each, (block + 1) * each)


def episodes(task: PictureTask, made: Sequence[Fold]) -> Episodes:
    """Return a task for each fold; classes with fewer pictures to adapt to repeat theirs, as `PictureTask` does."""
    return Episodes.gather((_part(task, fold).episodes() for fold in made), len(made))


def _part(task: PictureTask, fold: Fold) -> PictureTask:
    support, query = (tuple(_taken(task, part)) for part in (fold.support, fold.query))
    return PictureTask(classes=task.classes, support=support, query=query, digest="")


def _taken(task: PictureTask, pictures: Sequence[Sequence[int]]) -> Iterator[NDArray[np.float32]]:
    for images, numbers in zip(task.support, pictures, strict=True):
        yield images[list(numbers)]


def parts(task: PictureTask, made: Sequence[Fold]) -> list[PictureTask]:
    """Return the same as tasks of pictures, each of which is there once."""
    return [_part(task, fold) for fold in made]
