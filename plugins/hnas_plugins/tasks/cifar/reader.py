"""Read CIFAR-100 once: from the files that its authors wrote to one array, class by class."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from attrs import frozen

from hnas.errors import DataError
from hnas_plugins.tasks.cifar.content import SIDE, Part, read_binary, read_pickled, refuse
from hnas_plugins.tasks.cifar.files import BINARY, HINT, PICKLED, Archive, Unpacked, find_files
from hnas_plugins.tasks.cifar.splits import classes
from hnas_plugins.tasks.images.array_cache import Images, cached, digest
from hnas_plugins.tasks.sampling import Indices

PER_CLASS = {"train": 500, "test": 100}
"""Images of each class in the official files."""
FORMAT = 1
"""Counts up when this module orders images differently."""
_ROWS = 4096
"""Images that are copied at once: 12 MB."""
_READERS = {BINARY.folder: read_binary, PICKLED.folder: read_pickled}


@frozen(kw_only=True, eq=False)
class Cifar100:
    """All images, by fine label; of a class those of ``train`` first, then those of ``test``, in the files' order."""

    images: Images  # (N, 32, 32, 3)
    train_counts: Indices  # (100,): how many images ``train`` has of each class
    test_counts: Indices  # (100,)
    official: bool
    """Whether the files are the official ones, byte by byte."""

    @property
    def counts(self) -> Indices:
        """How many images each class has: (100,)."""
        return self.train_counts + self.test_counts

    @property
    def starts(self) -> Indices:
        """Where each class begins: (100,)."""
        return np.cumsum(self.counts) - self.counts


def read_cifar(root: Path) -> Cifar100:
    """Return the images below ``root``, memory-mapped from the cache as long as the files there stay the same.

    Raises `DataError` where files are missing or damaged, or are not CIFAR-100.
    """
    try:
        files = find_files(root)
        key = digest([FORMAT, files.fingerprint])
    except OSError as cause:
        raise DataError(f"CIFAR-100: {cause.filename or root}: {cause.strerror or cause}", hint=HINT) from cause
    images, record = cached("cifar-100", key, lambda: _read(files))
    return Cifar100(
        images=images,
        train_counts=np.array(record["train"], np.int64),
        test_counts=np.array(record["test"], np.int64),
        official=record["official"],
    )


def _read(files: Unpacked | Archive) -> tuple[Images, dict[str, Any]]:
    where, contents = f"CIFAR-100: {files.path}", files.contents()
    parts = _READERS[files.release.folder](contents, where)
    counts = {name: np.bincount(labels, minlength=len(classes())) for name, (_, labels) in parts.items()}
    if bare := [classes()[i].name for i in np.flatnonzero(counts["train"] + counts["test"] == 0)]:
        refuse(where, f"{len(bare)} of {len(classes())} classes have no images: {', '.join(bare[:4])}")
    official = files.release.is_official(contents)
    return _ordered(list(parts.values())), {**{n: c.tolist() for n, c in counts.items()}, "official": official}


def _ordered(parts: list[Part]) -> Images:
    """Copy the images to their places: by label, and else in the order in which they stand."""
    order = np.argsort(np.concatenate([labels for _, labels in parts]), kind="stable")
    place = np.empty_like(order)
    place[order] = np.arange(len(order))
    images = np.empty((len(order), SIDE, SIDE, 3), np.uint8)
    before = 0
    for rows, _ in parts:
        for start in range(0, len(rows), _ROWS):
            some = rows[start : start + _ROWS]
            images[place[before + start :][: len(some)]] = some.reshape(-1, 3, SIDE, SIDE).transpose(0, 2, 3, 1)
        before += len(rows)
    return images
