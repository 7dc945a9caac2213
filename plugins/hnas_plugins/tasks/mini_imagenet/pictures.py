"""Mini-ImageNet as pictures: a folder for each class, one folder with a list for each split, or a tar.xz."""

from __future__ import annotations

import csv
import lzma
import os
import tarfile
import tempfile
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any, Self

from hnas.errors import DataError, first_few
from hnas.task_source import SPLITS, Split
from hnas.toolkit.home import home
from hnas_plugins.tasks.images.array_cache import Allocate
from hnas_plugins.tasks.images.content import image_digests
from hnas_plugins.tasks.images.decoding import MAX_BYTES, Progress, decode_into, is_picture, named, read_file
from hnas_plugins.tasks.mini_imagenet.splits import HINT, MAX_PICTURES, SIDE, classes, refuse, require_classes

Files = dict[str, list[tuple[str, int, int]]]
"""The files of each class in order: name, size, time of the last change."""
_SUFFIXES = (".jpg", ".jpeg", ".png")
_BLOCK = 1 << 18
_MAX_LIST = 16 << 20
"""The most characters of a list; the official ones have 1.2 million."""
MAX_MEMBERS = 200_000
"""The most members of an archive: more than the pictures that ImageNet has of all 100 classes."""
MAX_UNPACKED = MAX_MEMBERS * (100 << 10)
"""The most bytes that an archive may unpack to: pictures of ImageNet's own size, 110 kB, have half as many."""


def has_classes(path: Path) -> bool:
    """Return whether a folder has a sub-folder for any class of Mini-ImageNet, of whatever split."""
    return any((path / wnid).is_dir() for split in SPLITS for wnid in classes(split))


def scan_folders(split: Split, path: Path, *, of_all: bool = False) -> Files:
    """List ``<wnid>/*.jpg`` in the folder of a split, or ``of_all`` classes; this is fast enough for every start.

    Raises `DataError` unless the classes are those of the split.
    """
    try:
        with os.scandir(path) as entries:
            names = sorted(e.name for e in entries if e.is_dir() and not e.name.startswith("."))
        names = [name for name in names if not of_all or name in classes(split)]
        found = {name: sorted(_list(path / name)) for name in names}
    except OSError as cause:
        raise DataError(f"mini-imagenet: {cause.filename or path}: {cause.strerror or cause}", hint=HINT) from cause
    require_classes(split, {name: len(files) for name, files in found.items()}, path)
    return found


def scan_listed(split: Split, listing: Path, images: Path) -> Files:
    """List the pictures in ``images`` that a split's list names, a CSV file of ``filename,label``.

    Raises `DataError` if the list is damaged, or one of its pictures is missing, or its classes are not of the split.
    """
    found, missing, rows = Files(), list[str](), _rows(listing)
    for name, label in rows:
        if not is_picture(name, _SUFFIXES) or not set("/\\\0").isdisjoint(name):
            raise refuse(listing, f"{name[:80]!r} is no name of a picture")
        try:
            status = (images / name).stat()
        except OSError:
            missing.append(name[:80])
        else:
            found.setdefault(label, []).append((name, status.st_size, status.st_mtime_ns))
    if missing:
        raise refuse(listing, f"{len(missing)} of its {len(rows)} pictures are not in {images}: {first_few(missing)}")
    for label, files in found.items():
        files.sort()
        if len({name for name, _, _ in files}) < len(files):
            raise refuse(listing, f"it has a picture of {label[:80]} twice")
    require_classes(split, {label: len(files) for label, files in found.items()}, listing)
    return found


def _rows(listing: Path) -> list[list[str]]:
    """Return the lines of a list below its first, each a name and a class."""
    try:
        with open(listing, encoding="utf-8-sig", newline="") as file:
            text = file.read(_MAX_LIST)
        rows = [row for row in csv.reader(text.splitlines()) if row]
    except (OSError, ValueError, csv.Error) as cause:
        raise refuse(listing, f"it cannot be read: {cause}") from cause
    if len(text) == _MAX_LIST or not rows or rows[0] != ["filename", "label"] or any(len(row) != 2 for row in rows):
        raise refuse(listing, "expected lines of two values, the first of them filename,label")
    return rows[1:]


def fill_from_folders(
    split: Split, path: Path, found: Files, allocate: Allocate, *, one: bool = False
) -> dict[str, Any]:
    """Decode all pictures, in a folder of their class or all in ``one``. Raises `DataError` if one is damaged."""
    contents = {
        wnid: {name: partial(read_file, (path if one else path / wnid) / name) for name, _, _ in files}
        for wnid, files in found.items()
    }
    return _decode(split, path, contents, allocate)


def fill_from_tar(split: Split, path: Path, allocate: Allocate) -> dict[str, Any]:
    """Decode all pictures of ``mini-imagenet-<split>.tar.xz``, whose members are ``<split>/<wnid>/*.jpg``.

    Raises `DataError` if the file or a picture is damaged, or a class is missing or unexpected.

    The archive is read once, front to back. The number of pictures is known only at its end, so their files wait one
    behind the other in a nameless file. Nothing is unpacked, and memory does not grow with the archive.
    """
    with tempfile.TemporaryFile(dir=home() / "mini-imagenet") as store:
        contents: dict[str, dict[str, Callable[[], bytes]]] = {}
        for wnid, name, content in _members(path):
            members = contents.setdefault(wnid, {})
            if name in members:
                raise refuse(path, f"{wnid}/{name} is in it twice")
            members[name] = partial(os.pread, store.fileno(), len(content), store.tell())
            if wnid in classes(split) and len(members) <= MAX_PICTURES:  # others are refused at the end
                store.write(content)
        store.flush()
        return _decode(split, path, contents, allocate)


def _members(path: Path) -> Iterator[tuple[str, str, bytes]]:
    """Yield class, name and content of every picture, in the archive's order."""
    progress, before = Progress(what=f"mini-imagenet: reading {path.name}", total=path.stat().st_size), 0
    try:
        with (
            open(path, "rb") as file,
            _Bounded(file) as unpacked,  # tarfile's own "r|xz" takes a truncated file for a complete one
            tarfile.open(fileobj=unpacked, mode="r|", bufsize=_BLOCK, tarinfo=_Member) as archive,
        ):
            for count, member in enumerate(archive):
                if count >= MAX_MEMBERS:
                    raise ValueError(f"it has more than {MAX_MEMBERS} members")
                progress.add(file.tell() - before)
                before = file.tell()
                parts = member.name.split("/")
                if member.isdir() or not is_picture(parts[-1], _SUFFIXES):
                    continue
                if not member.isreg() or len(parts) < 2 or "" in parts or ".." in parts:
                    raise refuse(path, f"{member.name[:200]} is no plain file in the folder of a class")
                if member.size > MAX_BYTES:
                    raise refuse(path, f"{member.name[:200]} has {member.size} bytes, more than any picture")
                content = archive.extractfile(member)
                yield parts[-2], parts[-1], content.read() if content else b""
            while unpacked.read(_BLOCK):
                pass  # the checksum is at the very end
    except (tarfile.TarError, lzma.LZMAError, EOFError, OSError, ValueError) as cause:
        raise refuse(path, f"it cannot be read, is damaged or cut short: {cause}") from cause
    progress.end()


class _Bounded(lzma.LZMAFile):
    """A file that raises an error if it is too long: a few bytes can unpack to any number."""

    def read(self, size: int | None = -1) -> bytes:
        content = super().read(size)
        if self.tell() > MAX_UNPACKED:
            raise ValueError(f"it unpacks to more than {MAX_UNPACKED} bytes")
        return content


class _Member(tarfile.TarInfo):
    """A header that is refused if it is followed by a huge text, which tarfile would read into memory."""

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> Self:
        member = super().frombuf(buf, encoding, errors)
        if member.size > _BLOCK and member.type not in (tarfile.REGTYPE, tarfile.AREGTYPE):
            raise tarfile.ReadError(f"{member.size} bytes for a name or a link")
        return member


def _list(folder: Path) -> Iterator[tuple[str, int, int]]:
    with os.scandir(folder) as entries:
        for entry in entries:
            if is_picture(entry.name, _SUFFIXES) and entry.is_file():
                status = entry.stat()
                yield entry.name, status.st_size, status.st_mtime_ns


def _decode(
    split: Split, path: Path, contents: Mapping[str, Mapping[str, Callable[[], bytes]]], allocate: Allocate
) -> dict[str, Any]:
    """Decode the pictures, classes and files in the order of their names, so that all layouts give the same tasks."""
    require_classes(split, {wnid: len(files) for wnid, files in contents.items()}, path)
    ordered = [(f"{wnid}/{name}", contents[wnid][name]) for wnid in classes(split) for name in sorted(contents[wnid])]
    what = f"mini-imagenet: decoding {len(ordered)} pictures of the {split} split, once"
    array = allocate((len(ordered), SIDE, SIDE, 3))
    damaged = decode_into(array, ordered, what=what)
    if damaged:
        raise DataError(
            f"mini-imagenet: {len(damaged)} of {len(ordered)} pictures in {path} are damaged: {named(damaged)}",
            hint="copy or download them again; results with one left out cannot be compared",
        )
    counts = [len(contents[wnid]) for wnid in classes(split)]
    return {"counts": counts, "digests": image_digests(array, counts)}
