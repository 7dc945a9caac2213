"""An array made once and kept: ``KEY.npy`` beside ``KEY.json``, in a folder of hnas's home."""

from __future__ import annotations

import hashlib
import io
import json
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hnas.errors import DataError
from hnas.files import write_bytes, write_json
from hnas.home import home

Images = NDArray[np.uint8]


def digest(value: Any) -> str:
    """Return a short name for a JSON value, the same on every machine."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:24]


def cached(folder: str, key: str, make: Callable[[], tuple[Images, dict[str, Any]]]) -> tuple[Images, dict[str, Any]]:
    """Return the array and the record of ``key``, memory-mapped; ``make`` them where they are missing or damaged.

    The record is written last and holds the array's checksum, and each file appears whole or not at all. Processes that
    start at once may both make the array: ``make`` is deterministic, so whichever file is there last is right. Where
    nothing can be written the array is used from memory, with a warning.
    """
    array_path, record_path = home() / folder / f"{key}.npy", home() / folder / f"{key}.json"
    found = _read(array_path, record_path)
    if found is not None:
        return found
    images, record = make()
    content = io.BytesIO()
    np.save(content, images, allow_pickle=False)
    checksum = hashlib.sha256(content.getbuffer()).hexdigest()
    try:
        array_path.parent.mkdir(parents=True, exist_ok=True)
        write_bytes(array_path, content.getvalue())
        write_json(record_path, {"checksum": checksum, "record": record})
    except (OSError, DataError) as cause:
        warnings.warn(f"{array_path.parent}: cannot keep it for the next start: {cause}", RuntimeWarning, stacklevel=2)
        return images, record
    return _read(array_path, record_path) or (images, record)


def _read(array_path: Path, record_path: Path) -> tuple[Images, dict[str, Any]] | None:
    try:
        stored = json.loads(record_path.read_bytes())
        if stored["checksum"] != _checksum(array_path):
            return None
        images = np.asarray(np.load(array_path, mmap_mode="r", allow_pickle=False))  # a plain array over the map
    except (OSError, ValueError, KeyError, TypeError):
        return None
    record = stored["record"]
    return (images, record) if images.dtype == np.uint8 and isinstance(record, dict) else None


def _checksum(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
