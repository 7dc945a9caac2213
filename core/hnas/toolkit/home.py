"""Where hnas keeps what outlives a run: what it can make again, and what the user told it."""

from __future__ import annotations

import os
from pathlib import Path


def home() -> Path:
    """Return the folder of cost tables and prepared data: ``HNAS_HOME``, else ``hnas`` in the cache directory (XDG).

    It need not exist yet.
    """
    return _folder("XDG_CACHE_HOME", "~/.cache")


def config_home() -> Path:
    """Return the folder of named devices: ``HNAS_HOME``, else ``hnas`` in the configuration directory (XDG).

    Devices are what the user said, so they do not lie in the cache, which may be deleted at any time. It need not
    exist yet.
    """
    return _folder("XDG_CONFIG_HOME", "~/.config")


def _folder(variable: str, default: str) -> Path:
    own = os.environ.get("HNAS_HOME")
    if own:
        return Path(own).expanduser()
    base = os.environ.get(variable, "")  # a relative one is to be ignored, says the XDG specification
    return (Path(base) if os.path.isabs(base) else Path(default).expanduser()) / "hnas"
