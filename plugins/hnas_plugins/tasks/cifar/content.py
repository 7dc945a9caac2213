"""Read the files of CIFAR-100, records or pickles, and refuse all that is not CIFAR-100."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from hnas.errors import DataError, short
from hnas_plugins.tasks.cifar.splits import classes, superclasses
from hnas_plugins.tasks.images.array_cache import Images
from hnas_plugins.tasks.pickles.reader import read_pickle
from hnas_plugins.tasks.sampling import Indices

SIDE = 32
WIDTH = 3 * SIDE * SIDE
"""Bytes of an image."""
Contents = Mapping[str, Path | bytes]
"""Files by name: their paths, or their content."""
Part = tuple[Images, Indices]
"""Images (n, 3072) for training or for the test, red, green and blue, each row by row; and their fine labels (n,)."""
_RECORD = 2 + WIDTH
"""Bytes of a record: the coarse label, the fine label, and the image."""
_NAMES = ("fine_label_names", "coarse_label_names")


def read_binary(contents: Contents, where: str) -> dict[str, Part]:
    """Return the images of ``train`` and ``test``. Raises `DataError` for files that are not as expected."""
    for key in _NAMES:
        what = f"{where}, {key}.txt"
        _require_names(key, _bytes(contents[f"{key}.txt"], what).tobytes().decode("latin-1").split(), what)
    return {name: _binary_part(contents[f"{name}.bin"], f"{where}, {name}.bin") for name in ("train", "test")}


def _binary_part(content: Path | bytes, what: str) -> Part:
    values = _bytes(content, what)
    if values.size % _RECORD or not values.size:
        refuse(what, f"it is damaged or cut short: it has {values.size} bytes, expected {_RECORD} for each image")
    records = values.reshape(-1, _RECORD)
    return _part(records[:, 2:], records[:, 1].astype(np.int64), records[:, 0].astype(np.int64), what)


def _bytes(content: Path | bytes, what: str) -> np.ndarray[tuple[int], np.dtype[np.uint8]]:
    """Return a file's content, mapped unless it is in memory already."""
    try:
        if isinstance(content, bytes) or not content.stat().st_size:  # an empty file cannot be mapped
            return np.frombuffer(content if isinstance(content, bytes) else b"", np.uint8)
        return np.memmap(content, np.uint8, "r")
    except OSError as cause:
        refuse(what, f"it cannot be read: {cause.strerror or cause}")


def read_pickled(contents: Contents, where: str) -> dict[str, Part]:
    """Return the images of ``train`` and ``test``. Raises `DataError` for files that are not as expected."""
    content = {name: _unpickle(contents[name], f"{where}, {name}") for name in ("train", "test", "meta")}
    for key in _NAMES:
        listed = content["meta"].get(key)
        names = [n.decode("latin-1") if isinstance(n, bytes) else n for n in listed] if isinstance(listed, list) else []
        _require_names(key, names, f"{where}, meta")
    return {name: _pickled_part(content[name], f"{where}, {name}") for name in ("train", "test")}


def _unpickle(content: Path | bytes, what: str) -> dict[str, Any]:
    """Return a file's dictionary. Its keys are Python 2's strings, or bytes if Python 3 has rewritten it so."""
    value = read_pickle(content, what)
    if not isinstance(value, dict):
        refuse(what, f"it holds a {type(value).__name__}, expected a dictionary")
    return {key.decode("latin-1") if isinstance(key, bytes) else key: item for key, item in value.items()}


def _pickled_part(content: dict[str, Any], what: str) -> Part:
    rows = content.get("data")
    if not isinstance(rows, np.ndarray) or rows.dtype != np.uint8 or rows.ndim != 2 or rows.shape[1] != WIDTH:
        shown = f"{rows.dtype} of {rows.shape}" if isinstance(rows, np.ndarray) else type(rows).__name__
        refuse(what, f"data is {shown}, expected uint8 of (images, {WIDTH})")
    fine, coarse = (_labels(content, key, len(rows), what) for key in ("fine_labels", "coarse_labels"))
    return _part(rows, fine, coarse, what)


def _labels(content: dict[str, Any], key: str, n_images: int, what: str) -> Indices:
    listed = content.get(key)
    if not isinstance(listed, list) or any(type(label) is not int for label in listed):
        refuse(what, f"{key} is no list of integers")
    if len(listed) != n_images:
        refuse(what, f"{key} has {len(listed)} labels for {n_images} images")
    return np.array(listed, np.int64)


def _part(rows: Images, fine: Indices, coarse: Indices, what: str) -> Part:
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
    return rows, fine


def _require_names(key: str, names: Sequence[object], what: str) -> None:
    """Refuse other classes, such as those of CIFAR-10, or the same in another order."""
    expected = [c.name for c in classes()] if key == "fine_label_names" else superclasses()
    if list(names) != list(expected):
        shown = ", ".join(n[:30] if isinstance(n, str) else short(n) for n in names[:3])
        seen = f"{len(names)} names, beginning with {shown}" if names else "no names"
        refuse(what, f"{key} has {seen}; expected are {len(expected)}, beginning with {', '.join(expected[:3])}")


def refuse(what: str, why: str) -> NoReturn:
    """Raise the error for a file with other content."""
    raise DataError(f"{what}: {why}", hint="use the official files; `hnas data fetch fc100` downloads them")
