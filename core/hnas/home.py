"""Where hnas keeps what outlives a run: cost tables and data made once."""

from __future__ import annotations

import os
from pathlib import Path


def home() -> Path:
    """Return ``HNAS_HOME``, else ``hnas`` in the user's cache directory (XDG). It need not exist yet."""
    own = os.environ.get("HNAS_HOME")
    if own:
        return Path(own).expanduser()
    cache = os.environ.get("XDG_CACHE_HOME", "")  # a relative one is to be ignored, says the XDG specification
    return (Path(cache) if os.path.isabs(cache) else Path("~/.cache").expanduser()) / "hnas"
