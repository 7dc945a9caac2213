"""Find the drawings of Omniglot below a folder, in its zips or unpacked, and report those missing."""

from __future__ import annotations

import os
import re
import stat
import zipfile
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

from attrs import field, frozen

from hnas.errors import DataError, first_few
from hnas_plugins.tasks.data_root import held
from hnas_plugins.tasks.omniglot.splits import DRAWINGS, FOLDERS, Character, characters

MAX_DRAWING_BYTES = 64 << 10
"""A drawing is about 300 bytes; anything of this size is not one."""
_MAX_ZIP_BYTES = 64 << 20
"""The official zips are below 10 MB."""
_MAX_UNPACKED = 256 << 20
"""The most bytes of all drawings together; the official ones have 10 MB."""
_DRAWING = re.compile(r"(?:^|/)([^/]+)/character(\d\d)/\d+_(\d\d)\.png$")

HINT = "`hnas data fetch omniglot` downloads it; --data-root names a folder that has it"


@frozen
class FolderPart:
    """One of the two halves of the data set, unpacked."""

    path: Path

    def entries(self) -> Iterator[tuple[str, tuple[int, int]]]:
        """Yield the name of every file, and numbers that change when its content does (with its size first)."""
        pending = [""]
        while pending:
            below = pending.pop()
            with os.scandir(self.path / below) as found:
                for entry in found:
                    name = f"{below}/{entry.name}" if below else entry.name
                    if entry.is_dir(follow_symlinks=False):
                        pending.append(name)
                    elif entry.name.endswith(".png"):
                        status = entry.stat()
                        if stat.S_ISREG(status.st_mode):
                            yield name, (status.st_size, status.st_mtime_ns)

    def read(self, name: str) -> bytes:
        """Return the content of a file. Raises `OSError` or an error of `zipfile` if it cannot be read."""
        with open(self.path / name, "rb") as file:
            return file.read(MAX_DRAWING_BYTES + 1)


@frozen
class ZipPart:
    """A zipped half, read in place: nothing is extracted."""

    path: Path
    _zip: zipfile.ZipFile = field(init=False, eq=False)

    def __attrs_post_init__(self) -> None:
        size = self.path.stat().st_size
        if size > _MAX_ZIP_BYTES:
            raise DataError(f"{self.path} has {size} bytes; Omniglot's zips have less than {_MAX_ZIP_BYTES}", hint=HINT)
        try:
            object.__setattr__(self, "_zip", zipfile.ZipFile(self.path))
        except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as cause:
            raise DataError(
                f"{self.path} ({size} bytes) is damaged: {cause}",
                hint="remove it and run `hnas data fetch omniglot`, or copy it again",
            ) from cause

    def entries(self) -> Iterator[tuple[str, tuple[int, int]]]:
        for info in self._zip.infolist():
            yield info.filename, (info.file_size, info.CRC)

    def read(self, name: str) -> bytes:
        return self._zip.read(name)


Part = FolderPart | ZipPart


@frozen(kw_only=True)
class Inventory:
    """All 32,460 drawings, found but not read yet."""

    parts: dict[str, Part]
    drawings: dict[Character, list[str]]
    """Names in the character's part, in the order of their numbers 01 … 20."""
    fingerprint: list[list[object]]
    """A JSON text that changes with any drawing: names, sizes, and checksums or times."""


def take_inventory(root: Path) -> Inventory:
    """List the drawings below ``root``. Raises `DataError` that names the missing ones."""
    parts = {folder: _open(root, folder) for folder in FOLDERS}
    found: dict[Character, dict[int, str]] = defaultdict(dict)
    fingerprint: list[list[object]] = []
    total = 0
    for folder, part in parts.items():
        for name, (size, change) in part.entries():
            match = _DRAWING.search(name)
            if not match or not 1 <= int(match[3]) <= DRAWINGS:
                continue
            character = Character(folder, match[1], int(match[2]))
            if found[character].setdefault(int(match[3]), name) != name or size > MAX_DRAWING_BYTES:
                fault = f"has {size} bytes" if size > MAX_DRAWING_BYTES else f"is there twice, as {name} too"
                raise DataError(f"{part.path}: {found[character][int(match[3])]} {fault}", hint=HINT)
            fingerprint.append([folder, name, size, change])
            total += size
    _require_all(parts, found)
    if total > _MAX_UNPACKED:
        raise DataError(f"{root}: its drawings have {total} bytes, expected at most {_MAX_UNPACKED}", hint=HINT)
    return Inventory(
        parts=parts,
        drawings={c: [found[c][number] for number in range(1, DRAWINGS + 1)] for c in characters()},
        fingerprint=sorted(fingerprint, key=str),
    )


def _open(root: Path, folder: str) -> Part:
    if (root / folder).is_dir():
        return FolderPart(root / folder)
    if (root / f"{folder}.zip").is_file():
        return ZipPart(root / f"{folder}.zip")
    there = held(root, "Omniglot", HINT)
    raise DataError(f"Omniglot: {root} has neither {folder}/ nor {folder}.zip; it holds {there}", hint=HINT)


def _require_all(parts: dict[str, Part], found: dict[Character, dict[int, str]]) -> None:
    """Raise `DataError` unless every character has all its drawings; it names the first incomplete ones."""
    faults: list[str] = []
    counts: list[str] = []
    for folder, part in parts.items():
        expected = [c for c in characters() if c.folder == folder]
        whole = [c for c in expected if len(found[c]) == DRAWINGS]
        if len(whole) < len(expected):
            counts.append(f"{part.path} has {len(whole)} of {len(expected)} characters with {DRAWINGS} drawings each")
            faults += _describe(expected, found)
    if faults:
        shown = first_few(faults, most=8, separator="; ")
        raise DataError(f"Omniglot is incomplete: {', '.join(counts)}. Missing: {shown}", hint=HINT)


def _describe(expected: list[Character], found: dict[Character, dict[int, str]]) -> Iterator[str]:
    """Yield one phrase for each alphabet or character that lacks something."""
    for alphabet in dict.fromkeys(c.alphabet for c in expected):
        members = [c for c in expected if c.alphabet == alphabet]
        absent = [c for c in members if not found[c]]
        if len(absent) == len(members):
            yield f"all of {alphabet} ({len(members)} characters)"
            continue
        if absent:
            yield f"{alphabet} character {_join(c.number for c in absent)}"
        for c in members:
            if 0 < len(found[c]) < DRAWINGS:
                gaps = (n for n in range(1, DRAWINGS + 1) if n not in found[c])
                yield f"{alphabet}/character{c.number:02d} drawing {_join(gaps)}"


def _join(numbers: Iterator[int]) -> str:
    return ", ".join(f"{n:02d}" for n in numbers)
