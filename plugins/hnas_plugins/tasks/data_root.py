"""Where a data set is read from."""

from __future__ import annotations

import os
from pathlib import Path

from hnas.home import home


def data_root(given: str, name: str) -> Path:
    """Return the folder ``given``; where that is empty, ``$HNAS_DATA/NAME``, else ``data/NAME`` in hnas's home."""
    if given:
        return Path(given).expanduser()
    data = os.environ.get("HNAS_DATA")
    return (Path(data).expanduser() if data else home() / "data") / name
