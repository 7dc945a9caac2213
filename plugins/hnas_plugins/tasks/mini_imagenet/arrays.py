"""Mini-ImageNet as arrays that others decoded: the cache pickles of many repositories, and torchmeta's HDF5."""

from __future__ import annotations

import importlib
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from attrs import frozen
from numpy.typing import NDArray

from hnas.errors import DataError
from hnas.task_source import Split
from hnas_plugins.tasks.data_root import fingerprint
from hnas_plugins.tasks.images.array_cache import Allocate, Images, release
from hnas_plugins.tasks.images.decoding import Progress
from hnas_plugins.tasks.mini_imagenet.splits import SIDE, classes, require_classes
from hnas_plugins.tasks.pickles.reader import read_pickle

_CHUNK = 128
"""Images that are copied at once: 2.7 MB."""
_AGAIN = "copy or download the file again"


@frozen(kw_only=True)
class Pickle:
    """``mini-imagenet-cache-<split>.pkl``: ``{"image_data": (N, 84, 84, 3), "class_dict": {wnid: indices}}``."""

    split: Split
    path: Path

    @property
    def fingerprint(self) -> object:
        """What changes when the file does, as JSON."""
        return fingerprint(self.path)

    def fill(self, allocate: Allocate) -> dict[str, Any]:
        """Copy the images, class by class. Raises `DataError` where they are not as expected.

        The file is mapped, so memory does not grow with it, except for one that Python 3 wrote in protocol 2.
        """
        content = read_pickle(self.path, f"mini-imagenet: {self.path}")
        images, members = (content.get(k) if isinstance(content, dict) else None for k in ("image_data", "class_dict"))
        if not isinstance(images, np.ndarray) or not isinstance(members, dict):
            raise self._refuse("it has no array image_data and dictionary class_dict")
        if images.dtype != np.uint8 or images.shape[1:] != (SIDE, SIDE, 3):
            raise self._refuse(
                f"image_data is {images.dtype} of {images.shape}, expected uint8 of (N, {SIDE}, {SIDE}, 3)"
            )
        indices = {str(name): self._indices(name, listed, len(images)) for name, listed in members.items()}
        require_classes(self.split, {name: len(listed) for name, listed in indices.items()}, self.path)
        if np.bincount(np.concatenate(list(indices.values()))).max() > 1:
            raise self._refuse("class_dict has the same image twice")

        def read(name: str, start: int, end: int) -> Images:
            copied: Images = images[indices[name][start:end]]
            release(images)
            return copied

        return _copy(self.split, {name: len(listed) for name, listed in indices.items()}, read, allocate)

    def _indices(self, name: object, listed: Any, n_images: int) -> NDArray[np.int64]:
        array = np.asarray(listed) if isinstance(listed, np.ndarray) or _integers(listed) else None
        if array is None or array.dtype.kind not in "iu" or array.ndim != 1:
            raise self._refuse(f"class_dict[{str(name)[:80]!r}] is no list of integers")
        if len(array) and not 0 <= array.min() <= array.max() < n_images:
            raise self._refuse(f"class_dict[{str(name)[:80]!r}] goes beyond the {n_images} images")
        return array.astype(np.int64)

    def _refuse(self, why: str) -> DataError:
        return DataError(f"mini-imagenet: {self.path}: {why}", hint=_AGAIN)


@frozen(kw_only=True)
class Hdf5:
    """torchmeta's ``<split>_data.hdf5``, a data set (n, 84, 84, 3) for each class, with ``<split>_labels.json``."""

    split: Split
    path: Path

    @property
    def fingerprint(self) -> object:
        """What changes when the file does, as JSON."""
        return fingerprint(self.path)

    def fill(self, allocate: Allocate) -> dict[str, Any]:
        """Copy the images, class by class. Raises `DataError` where they are not as expected, or h5py is missing."""
        try:
            h5py = importlib.import_module("h5py")
        except ImportError as cause:
            raise DataError(
                f"mini-imagenet: {self.path} needs the package h5py to be read, which is not installed",
                hint="pip install h5py",
            ) from cause
        try:
            file = h5py.File(self.path, "r")
        except OSError as cause:
            raise self._refuse(f"it is damaged, or not HDF5: {cause}") from cause
        with file:
            counts = self._counts(h5py, file)
            require_classes(self.split, counts, self.path)
            return _copy(self.split, counts, lambda name, start, end: self._read(file, name, start, end), allocate)

    def _counts(self, h5py: Any, file: Any) -> dict[str, int]:
        group = file.get("datasets")
        if not isinstance(group, h5py.Group):
            raise self._refuse("it has no group datasets")
        counts = {}
        for name in self._labels(group):
            images = group.get(name)
            if not isinstance(images, h5py.Dataset):
                raise self._refuse(f"{name[:80]} is no data set")
            if images.dtype != np.uint8 or images.shape[1:] != (SIDE, SIDE, 3):
                seen = f"{images.dtype} of {images.shape}"
                raise self._refuse(f"{name[:80]} is {seen}, expected uint8 of (n, {SIDE}, {SIDE}, 3)")
            counts[name] = int(images.shape[0])
        return counts

    def _labels(self, group: Any) -> list[str]:
        """Return the classes: all that are in the file, and that the list beside it names."""
        path = self.path.with_name(self.path.name.replace("_data.hdf5", "_labels.json"))
        try:
            listed = json.loads(path.read_bytes())
        except FileNotFoundError:
            listed = []
        except (OSError, ValueError) as cause:
            raise DataError(f"mini-imagenet: {path} is damaged: {cause}", hint=_AGAIN) from cause
        if not isinstance(listed, list) or not all(isinstance(name, str) for name in listed):
            raise DataError(f"mini-imagenet: {path} is no list of names", hint=_AGAIN)
        return sorted({*group, *listed})

    def _read(self, file: Any, name: str, start: int, end: int) -> Images:
        try:
            images: Images = file["datasets"][name][start:end]
        except (OSError, RuntimeError, ValueError) as cause:
            raise self._refuse(f"{name} is damaged: {cause}") from cause
        return images

    def _refuse(self, why: str) -> DataError:
        return DataError(f"mini-imagenet: {self.path}: {why}", hint=_AGAIN)


def _integers(listed: object) -> bool:
    return isinstance(listed, list | tuple) and bool(listed) and all(type(i) is int for i in listed)


def _copy(
    split: Split, counts: Mapping[str, int], read: Callable[[str, int, int], Images], allocate: Allocate
) -> dict[str, Any]:
    """Copy the images, the classes sorted, those of a class in the order that ``read(class, start, end)`` has."""
    ordered = [counts[name] for name in classes(split)]
    array, at = allocate((sum(ordered), SIDE, SIDE, 3)), 0
    progress = Progress(what=f"mini-imagenet: copying {len(array)} images of the {split} split, once", total=len(array))
    for name, count in zip(classes(split), ordered, strict=True):
        for start in range(0, count, _CHUNK):
            images = read(name, start, min(start + _CHUNK, count))
            array[at : at + len(images)] = images
            at += len(images)
            progress.add(len(images))
            release(array)
    progress.end()
    return {"counts": ordered}
