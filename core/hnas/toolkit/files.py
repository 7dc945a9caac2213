"""Files that survive a kill, each replaced as a whole; JSON with a checksum."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
from collections.abc import Mapping
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


def read_bytes(path: Path, most: int = 1 << 26) -> bytes:
    """Return a file's content, by default up to 64 MiB: a device has no end. Raises `OSError`."""
    with open(path, "rb") as file:
        if len(content := file.read(most + 1)) > most:
            raise OSError(errno.EFBIG, f"it has more than {most >> 20} MiB", str(path))
    return content


def read_json(path: Path) -> Any:
    """Read a JSON file. Raises `DataError` if it is missing or damaged."""
    try:
        return parse_json(read_bytes(path))  # as bytes, it may begin with the mark that Windows writes
    except OSError as cause:
        raise DataError(f"cannot read {path}: {cause.strerror}") from cause
    except ValueError as cause:
        raise DataError(f"{path} is damaged: not JSON: {cause}") from cause


def parse_json(text: str | bytes) -> Any:
    """Parse JSON of others. Raises `ValueError` if it is none, or nested over 100 levels: `repr` may fail at more."""
    try:
        level = [value := json.loads(text)]
        for _ in range(101):
            level = [v for x in level if isinstance(x, dict | list) for v in (x.values() if isinstance(x, dict) else x)]
    except RecursionError:
        level = [...]
    if level:
        raise ValueError("nested over 100 levels")
    return value


def checksum(value: Any) -> str:
    """Return the checksum of a JSON value: 32 digits of the SHA-256 of its canonical text."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:32]


def sealed(value: Mapping[str, Any]) -> dict[str, Any]:
    """Return a JSON object as it is read back, with a last key ``checksum`` over the rest."""
    plain = json.loads(json.dumps(value))
    return {**plain, "checksum": checksum(plain)}


def check_seal(value: Any, where: str, *, needed: bool, hint: str | None = None) -> None:
    """Raise `DataError` if the checksum of an object does not hold, or is missing though it is ``needed``."""
    rest = {k: v for k, v in value.items() if k != "checksum"} if isinstance(value, dict) else {}
    if rest and (needed or "checksum" in value) and value.get("checksum") != checksum(rest):
        raise DataError(f"{where} is damaged or was edited: its checksum does not hold, or is missing", hint=hint)


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
