"""Locks on files: one process at a time works on something, and others wait or learn the holder's process id.

A lock ends with its holder. A file system without locks is not an error.
"""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

HELD = (errno.EWOULDBLOCK, errno.EACCES)
"""The errors of a lock that another process holds."""


def lock(handle: int, *, wait: bool) -> bool:
    """Lock an open file until it is closed; return false if its file system has no locks.

    Raises `BlockingIOError` if another process holds it and this one does not want to ``wait``.
    """
    try:
        fcntl.flock(handle, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as cause:
        if cause.errno in HELD:
            raise BlockingIOError(cause.errno, cause.strerror) from cause
        return False
    return True


@contextmanager
def file_lock(path: Path, held: Callable[[str], None] = lambda owner: None, mode: int = 0o666) -> Iterator[bool]:
    """Hold the lock file ``path`` until the context ends, and yield whether its file system has locks.

    If another process holds it, ``held`` is called with that one's id; it may raise, else this process waits. A folder
    that cannot be written, and has no lock file, counts as one without locks: all that one can do there is read.
    """
    try:
        handle = os.open(path, os.O_RDWR | os.O_CREAT, mode)
    except OSError as cause:
        if cause.errno not in (errno.EROFS, errno.EACCES):
            raise
        if not path.exists():
            yield False
            return
        handle = os.open(path, os.O_RDONLY)
    try:
        try:
            locked = lock(handle, wait=False)
        except BlockingIOError:
            held(os.pread(handle, 32, 0).decode(errors="replace").strip() or "unknown")
            locked = lock(handle, wait=True)
        with suppress(OSError):  # one that cannot be written
            os.ftruncate(handle, 0)
            os.pwrite(handle, f"{os.getpid()}\n".encode(), 0)
        yield locked
    finally:
        os.close(handle)
