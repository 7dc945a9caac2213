"""Mini-ImageNet as decoded arrays: the cache pickles of many repositories, and torchmeta's HDF5."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hnas.errors import DataError
from hnas.task_source import Split
from hnas.toolkit.files import parse_json, read_bytes
from hnas_plugins.tasks.images.array_cache import Allocate, Images, release
from hnas_plugins.tasks.images.content import image_digests
from hnas_plugins.tasks.images.decoding import Progress
from hnas_plugins.tasks.mini_imagenet.splits import AGAIN, SIDE, classes, refuse, require_classes
from hnas_plugins.tasks.pickles.reader import read_pickle

_MAX_CHUNK = 64 << 20
"""The most values of a part of a data set, which HDF5 unpacks at once: a few bytes can claim 4 GB."""
_CHUNK = 128
"""Images that are copied at once: 2.7 MB."""


def fill_from_pickle(split: Split, path: Path, allocate: Allocate) -> dict[str, Any]:
    """Copy the images of ``mini-imagenet-cache-<split>.pkl``, class by class.

    It holds ``{"image_data": (N, 84, 84, 3), "class_dict": {wnid: indices}}``. Raises `DataError` if they are not as
    expected. The file is mapped, so memory does not grow with it, unless Python 3 wrote it in protocol 2.
    """
    content = read_pickle(path, f"mini-imagenet: {path}")
    images, members = (content.get(k) if isinstance(content, dict) else None for k in ("image_data", "class_dict"))
    if not isinstance(images, np.ndarray) or not isinstance(members, dict):
        raise refuse(path, "it has no array image_data and dictionary class_dict")
    _require_images(path, "image_data", images, "N")
    indices = {str(name): _indices(path, name, listed, len(images)) for name, listed in members.items()}
    counts = {name: len(listed) for name, listed in indices.items()}
    require_classes(split, counts, path)
    if np.bincount(np.concatenate(list(indices.values()))).max() > 1:
        raise refuse(path, "class_dict has the same image twice")

    def read(name: str, start: int, end: int) -> Images:
        copied: Images = images[indices[name][start:end]]
        release(images)
        return copied

    return _copy(split, counts, read, allocate)


def _indices(path: Path, name: object, listed: Any, n_images: int) -> NDArray[np.int64]:
    array = np.asarray(listed) if isinstance(listed, np.ndarray) or _integers(listed) else None
    if array is None or array.dtype.kind not in "iu" or array.ndim != 1:
        raise refuse(path, f"class_dict[{str(name)[:80]!r}] is no list of integers")
    if len(array) and not 0 <= array.min() <= array.max() < n_images:
        raise refuse(path, f"class_dict[{str(name)[:80]!r}] goes beyond the {n_images} images")
    return array.astype(np.int64)


def _integers(listed: object) -> bool:
    return isinstance(listed, list | tuple) and bool(listed) and all(type(i) is int for i in listed)


def fill_from_hdf5(split: Split, path: Path, allocate: Allocate) -> dict[str, Any]:
    """Copy the images of torchmeta's ``<split>_data.hdf5``, class by class.

    It has a data set (n, 84, 84, 3) for each class, and ``<split>_labels.json`` beside it. Raises `DataError` if they
    are not as expected, if the images are in other files, or if h5py is missing.
    """
    try:
        h5py = importlib.import_module("h5py")
    except ImportError as cause:
        raise DataError(
            f"mini-imagenet: {path} needs the package h5py to be read, which is not installed", hint="pip install h5py"
        ) from cause
    with _refused(path, "it is damaged, or not HDF5"):
        file = h5py.File(path, "r")

    def read(name: str, start: int, end: int) -> Images:
        with _refused(path, f"{name} is damaged"):
            images: Images = file["datasets"][name][start:end]
        return images

    with file:
        with _refused(path, "it is damaged"):
            counts = _hdf5_counts(h5py, file, path)
        require_classes(split, counts, path)
        return _copy(split, counts, read, allocate)


@contextmanager
def _refused(path: Path, message: str) -> Iterator[None]:
    """Name the file in whatever h5py raises: each of its layers has errors of its own."""
    try:
        yield
    except DataError:
        raise
    except Exception as cause:
        raise refuse(path, f"{message}: {cause}") from cause


def _hdf5_counts(h5py: Any, file: Any, path: Path) -> dict[str, int]:
    """Return the number of images of each class, after a check of how they are stored."""
    group, counts = _held(file, "datasets", path), {}
    if not isinstance(group, h5py.Group):
        raise refuse(path, "it has no group datasets")
    names = {*group}
    for name in sorted({*names, *_labels(path)}):
        images = _held(group, name, path) if name in names else None  # h5py takes other names for paths
        if not isinstance(images, h5py.Dataset):
            raise refuse(path, f"{name[:80]} is no data set")
        if images.external or images.is_virtual:
            raise refuse(path, f"the images of {name[:80]} are in other files, which are not read")
        if images.chunks and prod(images.chunks) > _MAX_CHUNK:
            raise refuse(path, f"the images of {name[:80]} are in parts of {images.chunks}, which are too large")
        _require_images(path, name[:80], images, "n")
        counts[name] = int(images.shape[0])
    return counts


def _held(group: Any, name: str, path: Path) -> Any:
    """Return a member of a group, if it is there. Refuses links, which may lead to any file of the user's."""
    link = group.get(name, getlink=True)
    if link is not None and type(link).__name__ != "HardLink":
        raise refuse(path, f"{name[:80]} is a link, and may lead to another file; links are not followed")
    return None if link is None else group[name]


def _labels(path: Path) -> list[str]:
    """Return the classes named in the list beside the file."""
    path = path.with_name(path.name.replace("_data.hdf5", "_labels.json"))
    try:
        listed = parse_json(read_bytes(path))
    except FileNotFoundError:
        return []
    except (OSError, ValueError) as cause:
        raise DataError(f"mini-imagenet: {path} is damaged: {cause}", hint=AGAIN) from cause
    if not isinstance(listed, list) or not all(isinstance(name, str) for name in listed):
        raise DataError(f"mini-imagenet: {path} is no list of names", hint=AGAIN)
    return listed


def _require_images(path: Path, name: str, images: Any, count: str) -> None:
    if images.dtype != np.uint8 or images.shape[1:] != (SIDE, SIDE, 3):
        seen = f"{images.dtype} of {images.shape}"
        raise refuse(path, f"{name} is {seen}, expected uint8 of ({count}, {SIDE}, {SIDE}, 3)")


def _copy(
    split: Split, counts: Mapping[str, int], read: Callable[[str, int, int], Images], allocate: Allocate
) -> dict[str, Any]:
    """Copy the images with the classes sorted; those of a class are in the order of ``read(class, start, end)``."""
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
    return {"counts": ordered, "digests": image_digests(array, ordered)}
