"""CIFAR-100's release for Python: pickles, as its authors wrote them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from hnas_plugins.tasks.cifar.content import WIDTH, Contents, Part, part, refuse, require_names
from hnas_plugins.tasks.pickles.reader import read_pickle
from hnas_plugins.tasks.sampling import Indices


def read_pickled(contents: Contents, where: str) -> dict[str, Part]:
    """Return the images of ``train`` and ``test``. Raises `DataError` for files that are not as expected."""
    content = {name: _unpickle(contents[name], f"{where}, {name}") for name in ("train", "test", "meta")}
    for key in ("fine_label_names", "coarse_label_names"):
        listed = content["meta"].get(key)
        names = [n.decode("latin-1") if isinstance(n, bytes) else n for n in listed] if isinstance(listed, list) else []
        require_names(key, names, f"{where}, meta")
    return {name: _part(content[name], f"{where}, {name}") for name in ("train", "test")}


def _unpickle(content: Path | bytes, what: str) -> dict[str, Any]:
    """Return a file's dictionary. Its keys are Python 2's strings: bytes, where Python 3 has written it again so."""
    value = read_pickle(content, what)
    if not isinstance(value, dict):
        refuse(what, f"it holds a {type(value).__name__}, expected a dictionary")
    return {key.decode("latin-1") if isinstance(key, bytes) else key: item for key, item in value.items()}


def _part(content: dict[str, Any], what: str) -> Part:
    rows = content.get("data")
    if not isinstance(rows, np.ndarray) or rows.dtype != np.uint8 or rows.ndim != 2 or rows.shape[1] != WIDTH:
        shown = f"{rows.dtype} of {rows.shape}" if isinstance(rows, np.ndarray) else type(rows).__name__
        refuse(what, f"data is {shown}, expected uint8 of (images, {WIDTH})")
    fine, coarse = (_labels(content, key, len(rows), what) for key in ("fine_labels", "coarse_labels"))
    return part(rows, fine, coarse, what)


def _labels(content: dict[str, Any], key: str, n_images: int, what: str) -> Indices:
    listed = content.get(key)
    if not isinstance(listed, list) or any(type(label) is not int for label in listed):
        refuse(what, f"{key} is no list of integers")
    if len(listed) != n_images:
        refuse(what, f"{key} has {len(listed)} labels for {n_images} images")
    return np.array(listed, np.int64)
