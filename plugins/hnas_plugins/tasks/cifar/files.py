"""Find the three files of CIFAR-100 below a folder: unpacked, or in their official tar.gz, read member by member."""

from __future__ import annotations

import gzip
import io
import tarfile
import zlib
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Protocol

from attrs import frozen

from hnas.errors import DataError

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

FOLDER = "cifar-100-python"
ARCHIVE = f"{FOLDER}.tar.gz"
OFFICIAL = {  # MD5, as torchvision and torchmeta record them
    "train": "16019d7e3df5f24257cddd939b257f8d",
    "test": "f0ef6b0ae62326f3e7ffdfab6717acfc",
    "meta": "7973b15100ade9c7d40fb424638fde48",
}
MAX_BYTES = 256 << 20
"""What the three files may have, and the archive unpacked. The official ones have 186 MB."""
_MAX_MEMBERS = 64
"""The official archive has 5 or 6."""
_BLOCK = 1 << 18

HINT = "`hnas data fetch fc100` downloads it; --data-root names a folder that has it"
_AGAIN = "remove it and run `hnas data fetch fc100`, or copy it again"


class Files(Protocol):
    """The three files, wherever they lie."""

    @property
    def path(self) -> Path:
        """The folder or archive."""

    @property
    def fingerprint(self) -> object:
        """What changes when a file does, as JSON; quick to get."""

    def contents(self) -> Mapping[str, Path | bytes]:
        """Return the files by name: where they are, or what they hold. Raises `DataError` where they are damaged."""


@frozen
class Unpacked:
    """The folder that holds ``train``, ``test`` and ``meta``."""

    path: Path

    @property
    def fingerprint(self) -> object:
        """Where the files are, their sizes and times."""
        found = [(self.path / name).stat() for name in OFFICIAL]
        return [str(self.path.resolve()), [[status.st_size, status.st_mtime_ns] for status in found]]

    def contents(self) -> Mapping[str, Path | bytes]:
        """Return the paths: what reads them can map them."""
        size = sum((self.path / name).stat().st_size for name in OFFICIAL)
        if size > MAX_BYTES:
            raise DataError(
                f"CIFAR-100: the files of {self.path} have {size} bytes, expected at most {MAX_BYTES}", hint=_AGAIN
            )
        return {name: self.path / name for name in OFFICIAL}


@frozen
class Archive:
    """The official ``cifar-100-python.tar.gz``."""

    path: Path

    @property
    def fingerprint(self) -> object:
        """Where it is, its size and time."""
        status = self.path.stat()
        return [str(self.path.resolve()), status.st_size, status.st_mtime_ns]

    def contents(self) -> Mapping[str, Path | bytes]:
        """Read the three members; whatever else is in the archive is passed over. Nothing is unpacked to the disk."""
        try:
            with gzip.open(self.path) as unpacked:
                bounded = _Bounded(unpacked)
                with tarfile.open(fileobj=bounded, mode="r|", bufsize=_BLOCK) as archive:
                    found = self._members(archive)
                while bounded.read(_BLOCK):
                    pass  # the checksum is at the very end
        except (tarfile.TarError, OSError, EOFError, zlib.error, ValueError) as cause:
            raise self._refuse(f"it cannot be read, is damaged or cut short: {cause}") from cause
        if missing := [name for name in OFFICIAL if name not in found]:
            raise self._refuse(f"it has no {' and no '.join(f'{FOLDER}/{name}' for name in missing)}")
        return found

    def _members(self, archive: tarfile.TarFile) -> dict[str, bytes]:
        found: dict[str, bytes] = {}
        for count, member in enumerate(archive):
            if count >= _MAX_MEMBERS:
                raise ValueError(f"more than {_MAX_MEMBERS} members")
            folder, name = PurePosixPath(member.name).parts[-2:-1], PurePosixPath(member.name).name
            if folder != (FOLDER,) or name not in OFFICIAL:
                continue
            content = archive.extractfile(member) if member.isreg() else None
            if content is None or name in found:
                raise ValueError(f"{member.name} is {'in it twice' if name in found else 'no plain file'}")
            found[name] = content.read()
        return found

    def _refuse(self, why: str) -> DataError:
        return DataError(f"CIFAR-100: {self.path}: {why}", hint=_AGAIN)


class _Bounded(io.RawIOBase):
    """A stream that ends with an error where it goes on for too long: a few bytes can unpack to any number."""

    def __init__(self, stream: gzip.GzipFile) -> None:
        self._stream = stream
        self._left = MAX_BYTES

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: WriteableBuffer) -> int:
        count = self._stream.readinto(buffer)
        self._left -= count
        if self._left < 0:
            raise ValueError(f"it unpacks to more than {MAX_BYTES} bytes")
        return count


def find_files(root: Path) -> Files:
    """Find the files in ``root``: in the folder `FOLDER`, in ``root`` itself, or in `ARCHIVE`, in this order.

    Raises `DataError` that says what is missing.
    """
    folders = [folder for folder in (root / FOLDER, root) if any((folder / name).is_file() for name in OFFICIAL)]
    for folder in folders:
        if all((folder / name).is_file() for name in OFFICIAL):
            return Unpacked(folder)
    if (root / ARCHIVE).is_file():
        return Archive(root / ARCHIVE)
    if not root.is_dir():
        raise DataError(f"CIFAR-100: there is no folder {root}", hint=HINT)
    if folders:
        missing = ", ".join(name for name in OFFICIAL if not (folders[0] / name).is_file())
        raise DataError(f"CIFAR-100: {folders[0]} is incomplete, it has no file {missing}", hint=HINT)
    held = ", ".join(sorted(p.name for p in root.iterdir())[:6]) or "nothing"
    raise DataError(
        f"CIFAR-100: {root} has neither {FOLDER}/ with {', '.join(OFFICIAL)}, nor {ARCHIVE}; it holds {held}", hint=HINT
    )
