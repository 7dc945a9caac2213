"""Files that survive a kill: replaced as a whole, or appended to line by line."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from attrs import frozen

from hnas.errors import DataError

_TORN = b" <torn>\n"
"""Ends a line that a kill cut short, so that it never parses, even where only its line end was missing."""


def write_bytes(path: Path, content: bytes) -> None:
    """Replace ``path`` by ``content``, or leave it as it is: temporary file, fsync, rename.

    Raises `DataError` with the free space where the disk is full or the folder cannot be written.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with open(temporary, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError as cause:
        temporary.unlink(missing_ok=True)
        raise _write_error(path, cause) from cause
    _sync_folder(path.parent)


def write_text(path: Path, text: str) -> None:
    """Replace ``path`` by ``text`` in UTF-8, as `write_bytes` does."""
    write_bytes(path, text.encode())


def write_json(path: Path, value: Any) -> None:
    """Replace ``path`` by ``value`` as indented JSON, as `write_bytes` does."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def read_json(path: Path) -> Any:
    """Read a JSON file. Raises `DataError` where it is missing or damaged."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except OSError as cause:
        raise DataError(f"cannot read {path}: {cause.strerror}") from cause
    except ValueError as cause:
        raise DataError(f"{path} is damaged: not JSON: {cause}") from cause


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
            raise _write_error(self.path, cause) from cause

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


def _write_error(path: Path, cause: OSError) -> DataError:
    try:
        free = f"; {shutil.disk_usage(path.parent).free / 2**20:.1f} MiB are free there"
    except OSError:
        free = ""
    hint = "free some space and run the command again" if cause.errno in (errno.ENOSPC, errno.EDQUOT) else None
    message = f"cannot write {path}: {cause.strerror or cause}{free}; what stood there before is kept"
    return DataError(message, hint=hint)


def _sync_folder(folder: Path) -> None:
    """Make the rename itself durable, where the file system can."""
    try:
        handle = os.open(folder, os.O_RDONLY)
    except OSError:
        return
    try:
        os.fsync(handle)
    except OSError:
        pass
    finally:
        os.close(handle)
