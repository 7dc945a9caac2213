"""Read CIFAR-100 once: from the pickles that its authors wrote to one array, class by class."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
from attrs import frozen

from hnas.errors import DataError
from hnas_plugins.tasks.cifar.files import HINT, OFFICIAL, find_files
from hnas_plugins.tasks.cifar.splits import classes, superclasses
from hnas_plugins.tasks.images.array_cache import Images, cached, digest
from hnas_plugins.tasks.pickles.reader import read_pickle
from hnas_plugins.tasks.sampling import Indices

SIDE = 32
PER_CLASS = {"train": 500, "test": 100}
"""Images of each class in the official files."""
FORMAT = 1
"""Counts up when this module orders images differently."""
_ROWS = 4096
"""Images that are copied at once: 12 MB."""


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
    images, record = cached("cifar-100", key, lambda: _read(files.contents(), str(files.path)))
    return Cifar100(
        images=images,
        train_counts=np.array(record["train"], np.int64),
        test_counts=np.array(record["test"], np.int64),
        official=record["official"],
    )


@frozen(kw_only=True, eq=False)
class _Part:
    """What ``train`` or ``test`` holds."""

    rows: Images  # (n, 3072): red, green and blue, each row by row
    labels: Indices  # (n,)


def _read(contents: Any, where: str) -> tuple[Images, dict[str, Any]]:
    content = {name: _unpickle(contents[name], f"CIFAR-100: {where}, {name}") for name in OFFICIAL}
    _require_names(content["meta"], f"CIFAR-100: {where}, meta")
    parts = {name: _part(content[name], f"CIFAR-100: {where}, {name}") for name in PER_CLASS}
    counts = {name: np.bincount(part.labels, minlength=len(classes())) for name, part in parts.items()}
    if bare := [classes()[i].name for i in np.flatnonzero(counts["train"] + counts["test"] == 0)]:
        _refuse(f"CIFAR-100: {where}", f"{len(bare)} of {len(classes())} classes have no images: {', '.join(bare[:4])}")
    official = all(_md5(contents[name]) == checksum for name, checksum in OFFICIAL.items())
    return _ordered(list(parts.values())), {**{n: c.tolist() for n, c in counts.items()}, "official": official}


def _ordered(parts: list[_Part]) -> Images:
    """Copy the images to their places: by label, and else in the order in which they stand."""
    order = np.argsort(np.concatenate([part.labels for part in parts]), kind="stable")
    place = np.empty_like(order)
    place[order] = np.arange(len(order))
    images = np.empty((len(order), SIDE, SIDE, 3), np.uint8)
    before = 0
    for part in parts:
        for start in range(0, len(part.rows), _ROWS):
            rows = part.rows[start : start + _ROWS]
            at = place[before + start :][: len(rows)]
            images[at] = rows.reshape(-1, 3, SIDE, SIDE).transpose(0, 2, 3, 1)
        before += len(part.rows)
    return images


def _unpickle(content: Path | bytes, what: str) -> dict[str, Any]:
    """Return a file's dictionary. Its keys are Python 2's strings: bytes, where Python 3 has written it again so."""
    value = read_pickle(content, what)
    if not isinstance(value, dict):
        _refuse(what, f"it holds a {type(value).__name__}, expected a dictionary")
    return {key.decode("latin-1") if isinstance(key, bytes) else key: item for key, item in value.items()}


def _require_names(meta: dict[str, Any], what: str) -> None:
    """Refuse other classes, such as those of CIFAR-10, or the same in another order."""
    for key, expected in (("fine_label_names", [c.name for c in classes()]), ("coarse_label_names", superclasses())):
        listed = meta.get(key)
        names = [n.decode("latin-1") if isinstance(n, bytes) else n for n in listed] if isinstance(listed, list) else []
        if names != list(expected):
            seen = f"{len(names)} names, beginning with {', '.join(map(str, names[:3]))}"[:120] if names else "no names"
            _refuse(what, f"{key} has {seen}; expected are {len(expected)}, beginning with {', '.join(expected[:3])}")


def _part(content: dict[str, Any], what: str) -> _Part:
    rows, width = content.get("data"), 3 * SIDE * SIDE
    if not isinstance(rows, np.ndarray) or rows.dtype != np.uint8 or rows.ndim != 2 or rows.shape[1] != width:
        shown = f"{rows.dtype} of {rows.shape}" if isinstance(rows, np.ndarray) else type(rows).__name__
        _refuse(what, f"data is {shown}, expected uint8 of (images, {width})")
    fine = _labels(content, "fine_labels", len(rows), len(classes()), what)
    coarse = _labels(content, "coarse_labels", len(rows), len(superclasses()), what)
    belongs = np.array([superclasses().index(c.superclass) for c in classes()])
    if (wrong := np.flatnonzero(belongs[fine] != coarse)).size:
        first = int(wrong[0])
        found, expected = superclasses()[coarse[first]], classes()[fine[first]]
        _refuse(
            what,
            f"{wrong.size} of {len(rows)} images have a superclass that their class does not belong to: "
            f"image {first} is {expected.name} and {found}, expected {expected.superclass}",
        )
    return _Part(rows=rows, labels=fine)


def _labels(content: dict[str, Any], key: str, n_images: int, n_labels: int, what: str) -> Indices:
    listed = content.get(key)
    if not isinstance(listed, list) or any(type(label) is not int for label in listed):
        _refuse(what, f"{key} is no list of integers")
    if len(listed) != n_images:
        _refuse(what, f"{key} has {len(listed)} labels for {n_images} images")
    if listed and not 0 <= min(listed) <= max(listed) < n_labels:
        _refuse(what, f"{key} has labels from {min(listed)} to {max(listed)}, expected 0 to {n_labels - 1}")
    return np.array(listed, np.int64)


def _refuse(what: str, why: str) -> NoReturn:
    raise DataError(
        f"{what}: {why}", hint="expected are the official files for Python; `hnas data fetch fc100` gets them"
    )


def _md5(content: Path | bytes) -> str:
    if isinstance(content, bytes):
        return hashlib.md5(content, usedforsecurity=False).hexdigest()
    with open(content, "rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
