"""Temporary files that a killed process left in a run directory."""

from __future__ import annotations

import os
import re
from contextlib import suppress
from pathlib import Path


def remove_leftovers(folder: Path) -> None:
    """Remove the temporary files of processes that no longer exist; the caller holds the folder's lock.

    A process on another machine that shares the disk would hold the lock while it writes. If a process here has the
    number of one that was killed, the file stays until a later start.
    """
    for place in (folder, folder / "export", *folder.glob("checkpoints/*")):
        for path in place.glob(".*.tmp"):
            writer = re.fullmatch(r"\..+\.(\d+)\.tmp", path.name)
            if writer and not _exists(int(writer[1])):
                with suppress(OSError):  # such as on read-only media
                    path.unlink()


def _exists(process: int) -> bool:
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:  # another user's
        return True
    return True
