"""Append-only logs, one JSON value a line, that lose no acknowledged line by a kill."""

from __future__ import annotations

import errno
import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from attrs import frozen

from hnas.toolkit.files import write_error

_TORN = b" <torn>\n"
"""Ends a line that a kill cut short, so that it never parses, even where only its line end was missing."""


@frozen
class JsonLines:
    """An append-only file with one JSON value a line, written by one process at a time and read by any."""

    path: Path

    def append(self, value: Any, *, sync: bool = False) -> None:
        """Add a line by a single write: a kill loses it whole or not at all. ``sync`` waits for the disk as well.

        A torn last line, left by a kill or a full disk, is ended first. Raises `DataError` when the disk is full.
        """
        line = json.dumps(value, ensure_ascii=False).encode() + b"\n"
        try:
            handle = os.open(self.path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o666)
            try:
                with suppress(OSError):  # some file systems have no locks; a line in the making would look torn
                    fcntl.flock(handle, fcntl.LOCK_EX)
                end = os.lseek(handle, 0, os.SEEK_END)
                if end and os.pread(handle, 1, end - 1) != b"\n":
                    line = _TORN + line
                if os.write(handle, line) != len(line):
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
                if sync:
                    # fdatasync is missing on macOS, where fsync does.
                    getattr(os, "fdatasync", os.fsync)(handle)
            finally:
                os.close(handle)
        except OSError as cause:
            raise write_error(self.path, cause) from cause

    def read(self) -> Iterator[Any]:
        """Yield the values in order; a torn line is left out, a missing file has none."""
        try:
            content = self.path.read_bytes()
        except FileNotFoundError:
            return
        for line in content.split(b"\n")[:-1]:
            try:
                yield json.loads(line)
            except ValueError:
                continue
