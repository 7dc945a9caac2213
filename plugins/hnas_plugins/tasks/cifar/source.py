"""The task sources `fc100` and `cifar-fs`: the 100 classes of CIFAR-100 at 32×32, divided in two ways."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from attrs import frozen

from hnas.episode import Episodes, EpisodeSpec
from hnas.errors import DataError
from hnas.layer import Shape
from hnas.task_source import Origin, Split, TaskSource
from hnas.toolkit.remote_file import RemoteFile
from hnas_plugins.tasks.cifar.content import SIDE, Part, refuse
from hnas_plugins.tasks.cifar.files import BINARY, HINT, Archive, Unpacked, find_files
from hnas_plugins.tasks.cifar.splits import Division, classes, labels
from hnas_plugins.tasks.data_root import data_root, root_setting
from hnas_plugins.tasks.images.array_cache import Images, cached, digest
from hnas_plugins.tasks.images.augmentation import AugmentationOptions
from hnas_plugins.tasks.images.classes import ImageClasses
from hnas_plugins.tasks.images.content import image_digests
from hnas_plugins.tasks.sampling import Indices

_URL = f"https://www.cs.toronto.edu/~kriz/{BINARY.archive}"
_MD5 = "03b5dce01913d631647c71ecec9e9cb8"  # as its authors record it
_SHA256 = "58a81ae192c23a4be8b1804d68e518ed807d710a4eb253b1f2a199162a40d8ec"  # as torchvision for Ruby records it
_SIZE = 168_513_733
_LICENCE = "not stated; cite Krizhevsky, 2009"
PER_CLASS = {"train": 500, "test": 100}
"""Images of each class in the official files."""
FORMAT = 2
"""Counts up when this module orders or describes images differently."""
_ROWS = 4096
"""Images that are copied at once: 12 MB."""


@frozen(kw_only=True)
class CifarOptions(AugmentationOptions):
    """Options of `fc100` and `cifar_fs`."""

    root: str = root_setting(
        "CIFAR-100, as cifar-100-binary/ or cifar-100-python/ or one of them as .tar.gz", "cifar-100"
    )


@frozen(kw_only=True, eq=False)
class Cifar100:
    """All images by fine label; in a class those of ``train`` first, then those of ``test``, in the files' order."""

    images: Images  # (N, 32, 32, 3)
    train_counts: Indices  # (100,): the number of images of each class in ``train``
    test_counts: Indices  # (100,)
    official: bool
    """Whether the files are the official ones, byte by byte."""
    digests: list[str]
    """A digest of the images of each class."""

    @property
    def counts(self) -> Indices:
        """The number of images of each class: (100,)."""
        return self.train_counts + self.test_counts

    @property
    def starts(self) -> Indices:
        """Where each class begins: (100,)."""
        return np.cumsum(self.counts) - self.counts


class Cifar(TaskSource):
    """CIFAR-100 at 32×32 in colour, 600 images a class: those of its training and of its test files together.

    Classes stand in the order of their names. Augmentation is for training tasks only.
    """

    def __init__(self, division: Division, options: CifarOptions | None = None) -> None:
        self._division = division
        self._options = options or CifarOptions()

    @property
    def root(self) -> Path:
        """The folder that the data are read from, the same for both divisions."""
        return data_root(self._options.root, "cifar-100")

    @property
    def image_shape(self) -> Shape:
        return (3, SIDE, SIDE)

    def n_classes(self, split: Split) -> int:
        return len(labels(self._division, split))

    def sample(self, split: Split, spec: EpisodeSpec, generators: Sequence[np.random.Generator]) -> Episodes:
        found, members = self._read, np.array(labels(self._division, split))
        drawn_from = ImageClasses(images=found.images, starts=found.starts[members], counts=found.counts[members])
        augmentation = self._options if split == "train" else None
        what, names = f"{self._division}'s {split} split", [classes()[label].name for label in members]
        return drawn_from.tasks(generators, spec, what=what, names=names, augmentation=augmentation)

    def class_digests(self, split: Split) -> Mapping[str, str]:
        return {classes()[label].name: self._read.digests[label] for label in labels(self._division, split)}

    def remote_files(self) -> Sequence[RemoteFile]:
        path = self.root / BINARY.archive
        return [RemoteFile(url=_URL, path=path, sha256=_SHA256, md5=_MD5, licence=_LICENCE, max_bytes=_SIZE)]

    def origin(self) -> Origin:
        return Origin(path=self.root, licence=_LICENCE, how=f"hnas data fetch {self._division}")

    def check(self) -> str:
        found = self._read
        train, test = PER_CLASS.values()
        shape = f"{SIDE}x{SIDE} in colour"
        if set(found.train_counts) != {train} or set(found.test_counts) != {test}:
            fewest, most = int(found.counts.min()), int(found.counts.max())
            counts = f"{fewest} to {most}" if fewest < most else str(most)
            return (
                f"{len(found.counts)} classes of {counts} images of {shape}, NOT the official CIFAR-100, which has "
                f"{train} + {test} of each: results will not compare"
            )
        content = "the official files" if found.official else "NOT the official files: results may not compare"
        return f"{len(found.counts)} classes x {train + test} images of {shape}, {content}"

    @cached_property
    def _read(self) -> Cifar100:
        return read_cifar(self.root)


def fc100(options: CifarOptions | None = None) -> Cifar:
    """Return FC100 (Oreshkin et al., 2018): 12 superclasses to train with, 4 and 4, of 5 classes each."""
    return Cifar("fc100", options)


def cifar_fs(options: CifarOptions | None = None) -> Cifar:
    """Return CIFAR-FS (Bertinetto et al., 2019): 64 classes to train with, 16 and 20, of any superclass."""
    return Cifar("cifar-fs", options)


def read_cifar(root: Path) -> Cifar100:
    """Return the images below ``root``, memory-mapped from the cache as long as the files there stay the same.

    Raises `DataError` if files are missing or damaged, or are not CIFAR-100.
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
        digests=record["digests"],
    )


def _read(files: Unpacked | Archive) -> tuple[Images, dict[str, Any]]:
    where, contents = f"CIFAR-100: {files.path}", files.contents()
    parts = files.release.read(contents, where)
    counts = {name: np.bincount(labels, minlength=len(classes())) for name, (_, labels) in parts.items()}
    if bare := [classes()[i].name for i in np.flatnonzero(counts["train"] + counts["test"] == 0)]:
        refuse(where, f"{len(bare)} of {len(classes())} classes have no images: {', '.join(bare[:4])}")
    official = files.release.is_official(contents)
    images = _ordered(list(parts.values()))
    digests = image_digests(images, counts["train"] + counts["test"])
    return images, {**{n: c.tolist() for n, c in counts.items()}, "official": official, "digests": digests}


def _ordered(parts: list[Part]) -> Images:
    """Copy the images to their places: by label, then in the order of the file."""
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
