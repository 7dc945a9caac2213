"""Append-only logs, one JSON value a line, that lose no acknowledged line by a kill."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from attrs import frozen

from hnas.errors import DataError
from hnas.toolkit.files import parse_json, write_error
from hnas.toolkit.lock import lock

_TORN = b" <torn>\n"
"""Ends a line that a kill cut short, so that it never parses, even if only its line end was missing."""


@frozen
class JsonLines:
    """An append-only file with one JSON value a line, read by any process. `append` locks it.

    ``compact`` leaves out the spaces between a value's parts.
    """

    path: Path
    compact: bool = False

    def append(self, value: Any, *, sync: bool = False) -> None:
        """Add a line by a single write: a kill loses it whole or not at all. ``sync`` waits for the disk as well.

        A torn last line, left by a kill, is dropped first, and a line for which there is no room leaves nothing. If the
        file system has no locks such a line stays and is ended, since it could be another writer's in the making.
        Raises `DataError` with the free space when the disk is full.
        """
        separators = (",", ":") if self.compact else None
        line = json.dumps(value, separators=separators).encode() + b"\n"
        try:
            handle = os.open(self.path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o666)
            try:
                _add(handle, line, sync)
            finally:
                os.close(handle)
        except OSError as cause:
            raise write_error(self.path, cause) from cause

    def read(self) -> Iterator[Any]:
        """Yield the values in order; a torn line is left out, a missing file has none."""
        for _, line in self._lines():
            try:
                yield parse_json(line)
            except ValueError:
                continue

    def recover(self) -> list[Any]:
        """Return the values of a file that has one writer, this one, and drop a last line that was cut short.

        Raises `DataError` for other damage: what follows it could not be relied on.
        """
        values = []
        lines = list(self._lines())
        for number, (start, line) in enumerate(lines, 1):
            try:
                values.append(parse_json(line))
            except ValueError as cause:
                if number == len(lines):  # a power cut can leave a whole line of zeros
                    try:
                        os.truncate(self.path, start)
                    except OSError as refused:
                        raise write_error(self.path, refused) from refused
                    break
                if not line.endswith(_TORN.rstrip(b"\n")):
                    raise DataError(f"{self.path}, line {number}: not JSON: {cause}") from cause
        return values

    def _lines(self) -> Iterator[tuple[int, bytes]]:
        """Yield the whole lines, each with where it begins."""
        try:
            content = self.path.read_bytes()
        except FileNotFoundError:
            return
        start = 0
        for line in content.split(b"\n")[:-1]:
            yield start, line
            start += len(line) + 1


def _add(handle: int, line: bytes, sync: bool) -> None:
    """Write a line behind the last whole one, or nothing."""
    alone = lock(handle, wait=True)
    end = size = os.lseek(handle, 0, os.SEEK_END)
    if size and os.pread(handle, 1, size - 1) != b"\n":
        if alone:
            end = os.pread(handle, size, 0).rfind(b"\n") + 1
            os.ftruncate(handle, end)
        else:
            line = _TORN + line
    try:
        if os.write(handle, line) != len(line):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        if sync:
            # fdatasync is missing on macOS, where fsync does.
            getattr(os, "fdatasync", os.fsync)(handle)
    except OSError:
        if alone:
            os.ftruncate(handle, end)
        raise
