"""Mini-ImageNet as pictures: a folder for each class, or the same in a tar.xz."""

from __future__ import annotations

import lzma
import os
import tarfile
import tempfile
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from attrs import frozen

from hnas.errors import DataError
from hnas.task_source import Split
from hnas.toolkit.home import home
from hnas_plugins.tasks.data_root import fingerprint
from hnas_plugins.tasks.images.array_cache import Allocate, release
from hnas_plugins.tasks.images.decoding import MAX_BYTES, Picture, Progress, decode_into, named, read_file
from hnas_plugins.tasks.mini_imagenet.splits import HINT, MAX_PICTURES, SIDE, classes, require_classes

_SUFFIXES = (".jpg", ".jpeg", ".png")
_BLOCK = 1 << 18
_RELEASE = 1024
"""Images after which written pages are let go of: 22 MB."""


def is_picture(name: str) -> bool:
    """Tell whether a file is one by its name. Names with a dot in front are what file managers leave."""
    return name.lower().endswith(_SUFFIXES) and not name.startswith(".")


@frozen(kw_only=True)
class Folders:
    """``<split>/<wnid>/*.jpg``."""

    split: Split
    path: Path
    found: dict[str, list[tuple[str, int, int]]]
    """The files of each class in order: name, size, time of the last change."""

    @classmethod
    def scan(cls, split: Split, path: Path) -> Folders:
        """List all files, which a start can afford. Raises `DataError` unless the classes are those of the split."""
        try:
            with os.scandir(path) as entries:
                names = sorted(e.name for e in entries if e.is_dir() and not e.name.startswith("."))
            found = {name: sorted(_list(path / name)) for name in names}
        except OSError as cause:
            raise DataError(f"mini-imagenet: {cause.filename or path}: {cause.strerror or cause}", hint=HINT) from cause
        require_classes(split, {name: len(files) for name, files in found.items()}, path)
        return cls(split=split, path=path, found=found)

    @property
    def fingerprint(self) -> object:
        """What changes when a picture does, as JSON."""
        return [str(self.path.resolve()), self.found]

    def fill(self, allocate: Allocate) -> dict[str, Any]:
        """Decode all pictures. Raises `DataError` where one is damaged."""
        contents = {
            wnid: {name: partial(read_file, self.path / wnid / name) for name, _, _ in files}
            for wnid, files in self.found.items()
        }
        return _decode(self.split, self.path, contents, allocate)


@frozen(kw_only=True)
class Tar:
    """``mini-imagenet-<split>.tar.xz`` with the members ``<split>/<wnid>/*.jpg``."""

    split: Split
    path: Path

    @property
    def fingerprint(self) -> object:
        """What changes when the file does, as JSON."""
        return fingerprint(self.path)

    def fill(self, allocate: Allocate) -> dict[str, Any]:
        """Decode all pictures. Raises `DataError` where the file or a picture is damaged, or a class amiss.

        The archive is read once, front to back. How many pictures there are is known at its end, so their files wait
        one behind the other in a nameless file: nothing is unpacked, and memory does not grow with the archive.
        """
        with tempfile.TemporaryFile(dir=home() / "mini-imagenet") as store:
            contents: dict[str, dict[str, Callable[[], bytes]]] = {}
            for wnid, name, content in self._members():
                members = contents.setdefault(wnid, {})
                if name in members:
                    raise self._refuse(f"{wnid}/{name} is in it twice")
                members[name] = partial(os.pread, store.fileno(), len(content), store.tell())
                if wnid in classes(self.split) and len(members) <= MAX_PICTURES:  # others are refused at the end
                    store.write(content)
            store.flush()
            return _decode(self.split, self.path, contents, allocate)

    def _members(self) -> Iterator[tuple[str, str, bytes]]:
        """Yield class, name and content of every picture, in the archive's order."""
        total = self.path.stat().st_size
        progress, before = Progress(what=f"mini-imagenet: reading {self.path.name}", total=total), 0
        try:
            with (
                open(self.path, "rb") as file,
                lzma.open(file) as unpacked,  # tarfile's own "r|xz" takes a file that is cut short for its end
                tarfile.open(fileobj=unpacked, mode="r|", bufsize=_BLOCK) as archive,
            ):
                for member in archive:
                    progress.add(file.tell() - before)
                    before = file.tell()
                    parts = member.name.split("/")
                    if member.isdir() or not is_picture(parts[-1]):
                        continue
                    if not member.isreg() or len(parts) < 2 or "" in parts or ".." in parts:
                        raise self._refuse(f"{member.name[:200]} is no plain file in the folder of a class")
                    if member.size > MAX_BYTES:
                        raise self._refuse(f"{member.name[:200]} has {member.size} bytes, more than any picture")
                    content = archive.extractfile(member)
                    yield parts[-2], parts[-1], content.read() if content else b""
                while unpacked.read(_BLOCK):
                    pass  # the checksum is at the very end
        except (tarfile.TarError, lzma.LZMAError, EOFError, OSError, ValueError) as cause:
            raise self._refuse(f"it cannot be read, is damaged or cut short: {cause}") from cause
        progress.end()

    def _refuse(self, why: str) -> DataError:
        return DataError(f"mini-imagenet: {self.path}: {why}", hint="copy or download the file again")


def _list(folder: Path) -> Iterator[tuple[str, int, int]]:
    with os.scandir(folder) as entries:
        for entry in entries:
            if is_picture(entry.name) and entry.is_file():
                status = entry.stat()
                yield entry.name, status.st_size, status.st_mtime_ns


def _decode(
    split: Split, path: Path, contents: Mapping[str, Mapping[str, Callable[[], bytes]]], allocate: Allocate
) -> dict[str, Any]:
    """Decode the pictures, classes and files in the order of their names, so that all layouts give the same tasks."""
    counts = {wnid: len(contents.get(wnid, ())) for wnid in classes(split)}
    require_classes(split, {wnid: len(files) for wnid, files in contents.items()}, path)
    total = sum(counts.values())
    ordered = [(f"{wnid}/{name}", contents[wnid][name]) for wnid in counts for name in sorted(contents[wnid])]
    array = allocate((total, SIDE, SIDE, 3))

    def pictures() -> Iterator[Picture]:
        for i, (name, content) in enumerate(ordered):
            if i % _RELEASE == 0:
                release(array)
            yield Picture(index=i, name=name, content=content)

    what = f"mini-imagenet: decoding {total} pictures of the {split} split, once"
    damaged = decode_into(array, pictures(), total=total, what=what)
    if damaged:
        raise DataError(
            f"mini-imagenet: {len(damaged)} of {total} pictures in {path} are damaged: {named(damaged)}",
            hint="copy or download them again; one that is left out makes results incomparable",
        )
    return {"counts": list(counts.values())}
