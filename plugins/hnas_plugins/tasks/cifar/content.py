"""What the files of CIFAR-100 hold, in whichever form, and whether it is CIFAR-100."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NoReturn

import numpy as np
from attrs import frozen

from hnas.errors import DataError
from hnas_plugins.tasks.cifar.splits import classes, superclasses
from hnas_plugins.tasks.images.array_cache import Images
from hnas_plugins.tasks.sampling import Indices

SIDE = 32
WIDTH = 3 * SIDE * SIDE
"""Bytes of an image."""
Contents = Mapping[str, Path | bytes]
"""Files by name: where they are, or what they hold."""


@frozen(kw_only=True, eq=False)
class Part:
    """The images for training, or those for the test."""

    rows: Images  # (n, 3072): red, green and blue, each row by row
    labels: Indices  # (n,): fine ones


def part(rows: Images, fine: Indices, coarse: Indices, what: str) -> Part:
    """Return images with their labels (n,). Raises `DataError` for labels that CIFAR-100 does not have."""
    for key, labels, n_labels in (
        ("fine_labels", fine, len(classes())),
        ("coarse_labels", coarse, len(superclasses())),
    ):
        if labels.size and not 0 <= labels.min() <= labels.max() < n_labels:
            refuse(what, f"{key} has labels from {labels.min()} to {labels.max()}, expected 0 to {n_labels - 1}")
    belongs = np.array([superclasses().index(c.superclass) for c in classes()])
    if (wrong := np.flatnonzero(belongs[fine] != coarse)).size:
        first = int(wrong[0])
        found, expected = superclasses()[coarse[first]], classes()[fine[first]]
        refuse(
            what,
            f"{wrong.size} of {len(rows)} images have a superclass that their class does not belong to: "
            f"image {first} is {expected.name} and {found}, expected {expected.superclass}",
        )
    return Part(rows=rows, labels=fine)


def require_names(key: str, names: Sequence[object], what: str) -> None:
    """Refuse other classes, such as those of CIFAR-10, or the same in another order."""
    expected = [c.name for c in classes()] if key == "fine_label_names" else superclasses()
    if list(names) != list(expected):
        seen = f"{len(names)} names, beginning with {', '.join(map(str, names[:3]))}"[:120] if names else "no names"
        refuse(what, f"{key} has {seen}; expected are {len(expected)}, beginning with {', '.join(expected[:3])}")


def refuse(what: str, why: str) -> NoReturn:
    """Raise the error for a file that holds something else."""
    raise DataError(f"{what}: {why}", hint="expected are the official files; `hnas data fetch fc100` gets them")
