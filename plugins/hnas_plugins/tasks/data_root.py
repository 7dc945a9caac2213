"""Find the folder of a data set, and list its content."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from hnas.errors import DataError
from hnas.settings import setting
from hnas.task_source import Split
from hnas.toolkit.home import home

SPLIT_NAMES: dict[Split, tuple[str, ...]] = {
    "train": ("train",),
    "validation": ("val", "validation"),
    "test": ("test",),
}
"""Names of the folders and files of a split, the usual one first."""


def root_setting(holds: str, name: str) -> Any:
    """Return the option ``root`` of a source that finds its data by `data_root`."""
    default = f"empty: $HNAS_DATA/{name}, else data/{name} in hnas's home"
    return setting("", f"folder that holds {holds}; {default}")


def data_root(given: str, name: str) -> Path:
    """Return the folder ``given``, or the one called NAME in it if several data sets lie side by side.

    If none is given, it is ``$HNAS_DATA/NAME``, else ``data/NAME`` in hnas's home.
    """
    if given:
        folder = Path(os.path.expanduser(given))
        return inner if (inner := folder / name).is_dir() else folder
    data = os.environ.get("HNAS_DATA")
    return (Path(os.path.expanduser(data)) if data else home() / "data") / name


def held(root: Path, what: str, hint: str) -> str:
    """Return the first names in a folder, for a message. Raises `DataError` if there is no such folder."""
    if not root.is_dir():
        raise DataError(f"{what}: there is no folder {root}", hint=hint)
    return ", ".join(sorted(p.name for p in root.iterdir())[:6]) or "nothing"


def fingerprint(path: Path) -> list[object]:
    """Return a JSON text that changes with a file: its path, size and time."""
    status = path.stat()
    return [str(path.resolve()), status.st_size, status.st_mtime_ns]
