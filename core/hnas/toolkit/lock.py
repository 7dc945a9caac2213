"""A folder that one process at a time works in."""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from hnas.errors import DataError

_NAME = ".lock"
_HELD = (errno.EWOULDBLOCK, errno.EACCES)


@contextmanager
def folder_lock(folder: Path, what: str) -> Iterator[None]:
    """Keep other processes out of ``folder``, which messages call ``what``, until the context ends or this one dies.

    Raises `DataError` with the id of the process that is in it. A file system that knows no locks is no reason to
    refuse.
    """
    handle = os.open(folder / _NAME, os.O_RDWR | os.O_CREAT, 0o666)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as cause:
            if cause.errno in _HELD:
                owner = os.pread(handle, 32, 0).decode(errors="replace").strip() or "unknown"
                raise DataError(
                    f"{what} {folder} is in use by process {owner}",
                    hint=f"wait for it to end, or stop it with `kill -INT {owner}` and run the command again",
                ) from None
        os.ftruncate(handle, 0)
        os.pwrite(handle, f"{os.getpid()}\n".encode(), 0)
        yield
    finally:
        os.close(handle)


def is_locked(folder: Path) -> bool:
    """Tell whether a process is in ``folder`` now."""
    try:
        handle = os.open(folder / _NAME, os.O_RDONLY)
    except OSError:
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError as cause:
        return cause.errno in _HELD
    finally:
        os.close(handle)
    return False
