"""The lock on a folder: one process at a time works in it, and others learn its process id."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from hnas.errors import DataError
from hnas.toolkit.lock import HELD, file_lock

_NAME = ".lock"


@contextmanager
def folder_lock(folder: Path, what: str) -> Iterator[bool]:
    """Keep other processes out of ``folder``, which messages call ``what``, until the context ends or this one dies.

    Yields whether its file system has locks. Raises `DataError` with the id of the process that holds it.
    """

    def refuse(owner: str) -> None:
        raise DataError(
            f"{what} {folder} is in use by process {owner}",
            hint=f"wait for it to end, or stop it with `kill -INT {owner}` and run the command again",
        )

    with file_lock(folder / _NAME, refuse) as locked:
        yield locked


def is_locked(folder: Path) -> bool:
    """Return whether a process holds the lock of ``folder`` now."""
    try:
        handle = os.open(folder / _NAME, os.O_RDONLY)
    except OSError:
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError as cause:
        return cause.errno in HELD
    finally:
        os.close(handle)
    return False
