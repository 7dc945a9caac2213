"""Where a data set is read from."""

from __future__ import annotations

import os
from pathlib import Path

from hnas.toolkit.home import home


def data_root(given: str, name: str) -> Path:
    """Return the folder ``given``, or the one called NAME in it, as where several data sets lie side by side.

    Where nothing is given it is ``$HNAS_DATA/NAME``, else ``data/NAME`` in hnas's home.
    """
    if given:
        folder = Path(given).expanduser()
        return inner if (inner := folder / name).is_dir() else folder
    data = os.environ.get("HNAS_DATA")
    return (Path(data).expanduser() if data else home() / "data") / name
