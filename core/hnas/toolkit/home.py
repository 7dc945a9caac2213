"""Folders of files that outlive a run: those that hnas can make again, and the user's configuration."""

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

    Devices are the user's configuration, so they are not in the cache, which may be deleted at any time. The folder
    need not exist yet.
    """
    return _folder("XDG_CONFIG_HOME", "~/.config")


def _folder(variable: str, default: str) -> Path:
    if own := os.environ.get("HNAS_HOME"):
        return Path(os.path.expanduser(own))
    base = os.environ.get(variable, "")  # the XDG specification says to ignore a relative one
    return (Path(base) if os.path.isabs(base) else Path(os.path.expanduser(default))) / "hnas"
