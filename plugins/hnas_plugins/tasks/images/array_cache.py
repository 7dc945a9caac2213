"""An array made once and kept: ``KEY.npy`` beside ``KEY.json``, in a folder of hnas's home.

`cached` is for arrays that fit into memory, `prepared` for larger ones, too.
"""

from __future__ import annotations

import errno
import hashlib
import io
import json
import mmap
import os
import shutil
import sys
import time
import warnings
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from attrs import frozen
from numpy.typing import NDArray

from hnas.errors import DataError
from hnas.toolkit.files import check_seal, parse_json, sealed, write_bytes, write_json
from hnas.toolkit.home import home
from hnas.toolkit.lock import file_lock

Images = NDArray[np.uint8]

LEFT_S = 3600.0
"""The age from which a temporary file is nobody's: writing takes seconds, and clocks may differ by minutes."""


def digest(value: Any) -> str:
    """Return a short name for a JSON value, the same on every machine."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:24]


def cached(folder: str, key: str, make: Callable[[], tuple[Images, dict[str, Any]]]) -> tuple[Images, dict[str, Any]]:
    """Return the array and the record of ``key``, memory-mapped; ``make`` them if they are missing or damaged.

    The record is written last and holds the array's checksum, and its own; each file appears whole or not at all.
    Processes that start at once may both make the array: ``make`` is deterministic, so the last file written is right.
    If nothing can be written, the array is used from memory, with a warning.
    """
    path = home() / folder / f"{key}.npy"
    if found := _open(path, whole=True):
        return found.images, found.record
    images, record = make()
    content = io.BytesIO()
    np.save(content, images, allow_pickle=False)
    checksum = hashlib.sha256(content.getbuffer()).hexdigest()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        for left in path.parent.glob(".*.tmp"):  # by a process that was killed, here or where the disk is shared
            if time.time() - left.stat().st_mtime > LEFT_S:
                left.unlink(missing_ok=True)
        write_bytes(path, content.getvalue())
        write_json(path.with_suffix(".json"), sealed({"sha256": checksum, "record": record}))
    except (OSError, DataError) as cause:
        warnings.warn(f"{path.parent}: cannot keep it for the next start: {cause}", RuntimeWarning, stacklevel=2)
        return images, record
    found = _open(path, whole=True)
    return (found.images, found.record) if found else (images, record)


def _checksum(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def release(images: Images) -> None:
    """Let this process forget the pages of an array of `prepared`; they stay in the system's cache.

    Else every page that was read counts as the process's memory until something else needs it.
    """
    owner: Any = images
    while owner is not None and not isinstance(owner, mmap.mmap):
        owner = owner.obj if isinstance(owner, memoryview) else getattr(owner, "base", None)
    if owner is not None and hasattr(mmap, "MADV_DONTNEED"):
        owner.madvise(mmap.MADV_DONTNEED)  # the map is shared: data written to it are in the file


Allocate = Callable[[tuple[int, ...]], Images]
"""Returns a writable array of zeros of a shape, in a file. May be called once."""


@frozen(kw_only=True, eq=False)
class Prepared:
    """A memory-mapped array in a file: a page is read when it is used, and dropped when memory is short."""

    images: Images
    record: dict[str, Any]
    checksum: str
    path: Path

    def verify(self) -> None:
        """Read the whole file. Raises `DataError` if it has changed since it was written; the next use remakes it."""
        seen = _checksum(self.path)
        if seen != self.checksum:
            with suppress(OSError):  # such as on read-only media
                self.path.with_suffix(".json").unlink(missing_ok=True)
            raise DataError(
                f"{self.path} is damaged: it has the checksum {seen[:12]}…, expected {self.checksum[:12]}…",
                hint="run the command again: the file is made anew; if it happens again, check the disk",
            )


def prepared(folder: str, key: str, fill: Callable[[Allocate], dict[str, Any]], *, what: str) -> Prepared:
    """Return the array of ``key``, which may be larger than memory; if it is missing, ``fill`` makes it.

    ``fill`` asks for the array when it knows the shape, fills it and returns the record. The array is made in a file of
    its own, which gets its name when it is whole. Only then the record is written, with size and checksum. A start
    compares only size, shape and type, since reading all would take as long as some trainings' first steps;
    `Prepared.verify` checks the rest. One process makes the array, others wait and print ``what``.

    Raises `DataError` if nothing can be written or the disk is full: such an array does not belong in memory.
    """
    path = home() / folder / f"{key}.npy"
    if found := _open(path):
        return found

    def tell(owner: str) -> None:
        print(f"hnas: {what}: another process prepares the images; waiting for it", file=sys.stderr)

    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with file_lock(
            path.with_suffix(".lock"), tell
        ) as alone:  # false if a file system has no locks: all may make it
            return _open(path) or _make(path, fill, alone)
    except OSError as cause:
        full = cause.errno in (errno.ENOSPC, errno.EDQUOT)
        free = f"; {shutil.disk_usage(path.parent).free / 2**20:.1f} MiB are free there" if full else ""
        raise DataError(
            f"{what}: cannot keep the decoded images in {path.parent}: {cause.strerror or cause}{free}",
            hint=f"{'make room there, or ' * full}set the environment variable HNAS_HOME to a folder "
            f"{'with more room' if full else 'that can be written'}",
        ) from cause


def _open(path: Path, *, whole: bool = False) -> Prepared | None:
    """Return a kept array if it is intact: judged by its size and shape, or by its checksum if ``whole``."""
    try:
        stored = parse_json(path.with_suffix(".json").read_bytes())
        check_seal(stored, str(path), needed=True)
        kept = stored["sha256"] == _checksum(path) if whole else stored["size"] == path.stat().st_size
        if not kept:
            return None
        images = np.asarray(np.load(path, mmap_mode="r", allow_pickle=False))  # a plain array over the map
        if images.dtype != np.uint8 or not isinstance(stored["record"], dict):
            return None
        if not whole and list(images.shape) != stored["shape"]:
            return None
        return Prepared(images=images, record=stored["record"], checksum=str(stored["sha256"]), path=path)
    except (OSError, ValueError, KeyError, TypeError, DataError):
        return None


def _make(path: Path, fill: Callable[[Allocate], dict[str, Any]], alone: bool) -> Prepared:
    if alone:
        for left in path.parent.glob(f"{path.stem}.*.part"):  # by a process that was killed
            left.unlink(missing_ok=True)
    part = path.with_name(f"{path.stem}.{os.getpid()}.part")
    made: list[np.memmap[Any, np.dtype[np.uint8]]] = []

    def allocate(shape: tuple[int, ...]) -> Images:
        images = np.lib.format.open_memmap(part, "w+", np.uint8, shape)
        if hasattr(os, "posix_fallocate"):  # else a full disk kills the process when it writes to a page
            with open(part, "rb+") as file:
                try:
                    os.posix_fallocate(file.fileno(), 0, part.stat().st_size)
                except OSError as cause:
                    if cause.errno not in (errno.EINVAL, errno.EOPNOTSUPP):  # the file system cannot
                        raise
        made.append(images)
        return images

    try:
        record = fill(allocate)
        (images,) = made
        images.flush()
        stored = {
            "size": part.stat().st_size,
            "shape": list(images.shape),
            "sha256": _checksum(part),
            "record": record,
        }
        os.replace(part, path)
        write_json(path.with_suffix(".json"), sealed(stored))
    finally:
        part.unlink(missing_ok=True)
    found = _open(path)
    if found is None:
        raise OSError(errno.EIO, "the data just written cannot be read")
    return found
