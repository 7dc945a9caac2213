"""CIFAR-100's binary release: records of two labels and an image, one behind the other, and lists of names."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from hnas_plugins.tasks.cifar.content import WIDTH, Contents, Part, part, refuse, require_names

RECORD = 2 + WIDTH
"""Bytes of a record: the coarse label, the fine label, and the image."""


def read_binary(contents: Contents, where: str) -> dict[str, Part]:
    """Return the images of ``train`` and ``test``. Raises `DataError` for files that are not as expected."""
    for key in ("fine_label_names", "coarse_label_names"):
        what = f"{where}, {key}.txt"
        require_names(key, _bytes(contents[f"{key}.txt"], what).tobytes().decode("latin-1").split(), what)
    return {name: _part(contents[f"{name}.bin"], f"{where}, {name}.bin") for name in ("train", "test")}


def _part(content: Path | bytes, what: str) -> Part:
    values = _bytes(content, what)
    if values.size % RECORD or not values.size:
        refuse(what, f"it is damaged or cut short: it has {values.size} bytes, expected {RECORD} for each image")
    records = values.reshape(-1, RECORD)
    return part(records[:, 2:], records[:, 1].astype(np.int64), records[:, 0].astype(np.int64), what)


def _bytes(content: Path | bytes, what: str) -> np.ndarray[tuple[int], np.dtype[np.uint8]]:
    """Return a file's content, mapped unless it is in memory already."""
    try:
        if isinstance(content, bytes) or not content.stat().st_size:  # an empty file cannot be mapped
            return np.frombuffer(content if isinstance(content, bytes) else b"", np.uint8)
        return np.memmap(content, np.uint8, "r")
    except OSError as cause:
        refuse(what, f"it cannot be read: {cause.strerror or cause}")
