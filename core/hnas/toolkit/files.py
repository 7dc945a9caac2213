"""Files that survive a kill: each is replaced as a whole."""

from __future__ import annotations

import errno
import json
import os
import shutil
from contextlib import suppress
from pathlib import Path
from typing import Any

from hnas.errors import DataError


def write_bytes(path: Path, content: bytes) -> None:
    """Replace ``path`` by ``content``, or leave it as it is: temporary file, fsync, rename.

    Raises `DataError` with the free space if the disk is full or the folder cannot be written.
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
        raise write_error(path, cause) from cause
    _sync_folder(path.parent)


def write_text(path: Path, text: str) -> None:
    """Replace ``path`` by ``text`` in UTF-8, as `write_bytes` does; lone surrogates, of file names, are escaped."""
    write_bytes(path, text.encode("utf-8", "backslashreplace"))


def write_json(path: Path, value: Any) -> None:
    """Replace ``path`` by ``value`` as indented JSON, as `write_bytes` does."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def read_json(path: Path) -> Any:
    """Read a JSON file. Raises `DataError` if it is missing or damaged."""
    try:
        return json.loads(path.read_bytes())  # as bytes, it may begin with the mark that Windows writes
    except OSError as cause:
        raise DataError(f"cannot read {path}: {cause.strerror}") from cause
    except ValueError as cause:
        raise DataError(f"{path} is damaged: not JSON: {cause}") from cause


def write_error(path: Path, cause: OSError) -> DataError:
    """Return the error for a file that cannot be written, with the free space there."""
    try:
        free = f"; {shutil.disk_usage(path.parent).free / 2**20:.1f} MiB are free there"
    except OSError:
        free = ""
    hint = "free some space and run the command again" if cause.errno in (errno.ENOSPC, errno.EDQUOT) else None
    message = f"cannot write {path}: {cause.strerror or cause}{free}; what stood there before is kept"
    return DataError(message, hint=hint)


def _sync_folder(folder: Path) -> None:
    """Make the rename itself durable, if the file system can."""
    with suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
