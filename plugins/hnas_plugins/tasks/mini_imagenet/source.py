"""The task source `mini-imagenet`: 100 classes of ImageNet, 600 pictures each, at 84×84 (Ravi and Larochelle, 2017)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
from attrs import frozen

from hnas.episode import Episodes, EpisodeSpec
from hnas.errors import DataError
from hnas.layer import Shape
from hnas.task_source import SPLITS, Origin, Split, TaskSource
from hnas_plugins.tasks.data_root import SPLIT_NAMES, data_root, fingerprint, held, root_setting
from hnas_plugins.tasks.images.array_cache import Allocate, Prepared, digest, prepared
from hnas_plugins.tasks.images.augmentation import AugmentationOptions
from hnas_plugins.tasks.images.classes import ImageClasses
from hnas_plugins.tasks.mini_imagenet.arrays import fill_from_hdf5, fill_from_pickle
from hnas_plugins.tasks.mini_imagenet.pictures import (
    fill_from_folders,
    fill_from_tar,
    has_classes,
    scan_folders,
    scan_listed,
)
from hnas_plugins.tasks.mini_imagenet.splits import HINT, HOW, LICENCE, PICTURES, SIDE, classes

FORMAT = 2
"""Counts up when pictures are decoded or described differently."""
Fill = Callable[[Allocate], dict[str, Any]]
"""Writes all images of a split into an array and returns the number in each class, in order, as ``counts``.

A digest of the content of each class is in ``digests``."""
_FILES: tuple[tuple[str, Callable[[Split, Path, Allocate], dict[str, Any]]], ...] = (
    ("mini-imagenet-{}.tar.xz", fill_from_tar),
    ("mini-imagenet-cache-{}.pkl", fill_from_pickle),
    ("{}_data.hdf5", fill_from_hdf5),
    ("miniimagenet/{}_data.hdf5", fill_from_hdf5),
)
"""Possible names of the file of a split, in the order in which they are tried, and the reader of each."""


@frozen(kw_only=True)
class MiniImageNetOptions(AugmentationOptions):
    """Options of `MiniImageNet`."""

    root: str = root_setting(
        "train, val and test as folders of classes, as mini-imagenet-*.tar.xz, as mini-imagenet-cache-*.pkl or as "
        "torchmeta's *_data.hdf5; or a folder for each class; or images and train.csv, val.csv and test.csv",
        "mini-imagenet",
    )


class MiniImageNet(TaskSource):
    """Mini-ImageNet at 84×84 in colour, with Ravi and Larochelle's split: 64, 16 and 20 classes.

    Pictures of other sizes, such as ImageNet's own, are scaled to 84×84 whatever their proportions, as Ravi and
    Larochelle did, with a Lanczos filter. Classes stand in the order of their WordNet ids, pictures in that of their
    names; pickles and HDF5 files have no names and keep their order within a class. A split is decoded when it is first
    asked for, and then mapped from hnas's home. Augmentation is for training tasks only.
    """

    def __init__(self, options: MiniImageNetOptions | None = None) -> None:
        self._options = options or MiniImageNetOptions()

    @property
    def root(self) -> Path:
        """The folder that the data are read from."""
        return data_root(self._options.root, "mini-imagenet")

    @property
    def image_shape(self) -> Shape:
        return (3, SIDE, SIDE)

    def n_classes(self, split: Split) -> int:
        return len(classes(split))

    def sample(self, split: Split, spec: EpisodeSpec, generators: Sequence[np.random.Generator]) -> Episodes:
        found = self._prepare(split)
        counts = np.array(found.record["counts"], np.int64)
        drawn_from = ImageClasses(images=found.images, starts=np.cumsum(counts) - counts, counts=counts)
        what, augmentation = f"mini-imagenet's {split} split", self._options if split == "train" else None
        return drawn_from.tasks(generators, spec, what=what, names=classes(split), augmentation=augmentation)

    def class_digests(self, split: Split) -> Mapping[str, str]:
        return dict(zip(classes(split), self._prepare(split).record["digests"], strict=True))

    def origin(self) -> Origin:
        return Origin(path=self.root, licence=LICENCE, how=HOW)

    def check(self) -> str:
        counts = []
        for split in SPLITS:
            found = self._prepare(split)
            found.verify()
            counts += found.record["counts"]
        shape = f"{SIDE}x{SIDE} in colour, Ravi and Larochelle's split"
        if set(counts) == {PICTURES}:
            return f"{len(counts)} classes x {PICTURES} pictures of {shape}"
        return (
            f"{len(counts)} classes of {min(counts)} to {max(counts)} pictures of {shape}, "
            f"NOT {PICTURES} each: results will not compare"
        )

    @cached_property
    def _prepared(self) -> dict[Split, Prepared]:
        """Splits that are open; as a cached property it is not sent to workers."""
        return {}

    def _prepare(self, split: Split) -> Prepared:
        if split not in self._prepared:
            what = f"mini-imagenet's {split} split"
            try:
                files, fill = find_layout(self.root, split)
                key = f"{split}-{digest([FORMAT, files])}"
            except OSError as cause:
                raise DataError(f"{what}: {cause.filename}: {cause.strerror}", hint=HINT) from cause
            self._prepared[split] = prepared("mini-imagenet", key, fill, what=what)
        return self._prepared[split]


def find_layout(root: Path, split: Split) -> tuple[object, Fill]:
    """Find a split below ``root``: as folders, as pictures with a list, as tar.xz, pickle or HDF5, in this order.

    The folders are those of the split, or those of all classes, in ``root`` or ``images`` in it. Returns a JSON text
    that changes with the content, and its reader. Raises `DataError` if none is there, or the folders are not those of
    the split.
    """
    names = SPLIT_NAMES[split]
    for path in (root / n for n in names):
        if path.is_dir() and any(p.is_dir() for p in path.iterdir() if not p.name.startswith(".")):
            found = scan_folders(split, path)
            return [str(path.resolve()), found], partial(fill_from_folders, split, path, found)
    images = root / "images"
    for path in (root, images):
        if has_classes(path):
            found = scan_folders(split, path, of_all=True)
            return [str(path.resolve()), found], partial(fill_from_folders, split, path, found)
    for listing in (root / f"{n}.csv" for n in names):
        if listing.is_file() and images.is_dir():
            found = scan_listed(split, listing, images)
            return [str(images.resolve()), found], partial(fill_from_folders, split, images, found, one=True)
    for pattern, fill in _FILES:
        for path in (root / pattern.format(n) for n in names):
            if path.is_file():
                return fingerprint(path), partial(fill, split, path)
    name, there = names[0], held(root, "mini-imagenet", HINT)
    raise DataError(
        f"mini-imagenet: the {split} split is not in {root}, neither as {name}/<class>/*.jpg, <class>/*.jpg, or "
        f"images/*.jpg with {name}.csv, nor as "
        f"mini-imagenet-{name}.tar.xz, mini-imagenet-cache-{name}.pkl or {name}_data.hdf5; it holds {there}",
        hint="name the folder that holds one of these for each split by --data-root",
    )
