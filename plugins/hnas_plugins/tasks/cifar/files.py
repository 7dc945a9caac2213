"""Find the files of CIFAR-100 below a folder: unpacked, or in an official tar.gz, read member by member."""

from __future__ import annotations

import gzip
import hashlib
import io
import tarfile
import zlib
from collections.abc import Callable
from pathlib import Path, PurePosixPath

from attrs import frozen

from hnas.errors import DataError
from hnas_plugins.tasks.cifar.content import Contents, Part, read_binary, read_pickled
from hnas_plugins.tasks.data_root import fingerprint, held


@frozen(kw_only=True)
class Release:
    """A form in which the authors published the same images: its folder, and the files that are read."""

    folder: str
    files: tuple[str, ...]
    algorithm: str
    read: Callable[[Contents, str], dict[str, Part]]
    checksums: dict[str, str]
    """Checksums of the official files, by ``algorithm``. Lists of names need none: they are compared."""

    @property
    def archive(self) -> str:
        """The downloaded file."""
        return f"{self.folder}.tar.gz"

    def is_official(self, contents: Contents) -> bool:
        """Return whether the files are the official ones, byte by byte."""
        return all(_checksum(contents[name], self.algorithm) == known for name, known in self.checksums.items())


BINARY = Release(
    folder="cifar-100-binary",
    files=("train.bin", "test.bin", "fine_label_names.txt", "coarse_label_names.txt"),
    read=read_binary,
    algorithm="sha256",  # as torchvision for Ruby records them
    checksums={
        "train.bin": "f31298fc616915fa142368359df1c4ca2ae984d6915ca468b998a5ec6aeebf29",
        "test.bin": "d8b1e6b7b3bee4020055f0699b111f60b1af1e262aeb93a0b659061746f8224a",
    },
)
PICKLED = Release(
    folder="cifar-100-python",
    files=("train", "test", "meta"),
    read=read_pickled,
    algorithm="md5",  # as torchvision and torchmeta record them
    checksums={
        "train": "16019d7e3df5f24257cddd939b257f8d",
        "test": "f0ef6b0ae62326f3e7ffdfab6717acfc",
        "meta": "7973b15100ade9c7d40fb424638fde48",
    },
)
RELEASES = (BINARY, PICKLED)
"""In the order in which they are looked for."""
MAX_BYTES = 512 << 20
"""The most bytes that a release may have, in files or unpacked. The official ones have 186 MB.

Python 3 writes bytes in protocol 2 as text, of which half the bytes take two: 269 MB.
"""
_MAX_MEMBERS = 64
"""The official archives have 5 or 6."""
_BLOCK = 1 << 18

HINT = "`hnas data fetch fc100` downloads it; --data-root names a folder that has it"
_AGAIN = "remove it and run `hnas data fetch fc100`, or copy it again"


@frozen
class Unpacked:
    """The folder that holds the files of a release."""

    release: Release
    path: Path

    @property
    def missing(self) -> list[str]:
        """The missing files."""
        return [name for name in self.release.files if not (self.path / name).is_file()]

    @property
    def fingerprint(self) -> object:
        """The paths of the files, their sizes and times, as JSON."""
        found = [(self.path / name).stat() for name in self.release.files]
        return [str(self.path.resolve()), [[status.st_size, status.st_mtime_ns] for status in found]]

    def contents(self) -> Contents:
        """Return the paths, so that the reader can map the files."""
        size = sum((self.path / name).stat().st_size for name in self.release.files)
        if size > MAX_BYTES:
            raise DataError(
                f"CIFAR-100: the files of {self.path} have {size} bytes, expected at most {MAX_BYTES}", hint=_AGAIN
            )
        return {name: self.path / name for name in self.release.files}


@frozen
class Archive:
    """The official tar.gz of a release."""

    release: Release
    path: Path

    @property
    def fingerprint(self) -> object:
        """Its path, size and time, as JSON."""
        return fingerprint(self.path)

    def contents(self) -> Contents:
        """Read the needed members and skip all others. Nothing is unpacked to the disk."""
        try:
            with _Bounded(self.path) as unpacked:
                with tarfile.open(fileobj=unpacked, mode="r|", bufsize=_BLOCK) as archive:
                    found = self._members(archive)
                while unpacked.read(_BLOCK):
                    pass  # the checksum is at the very end
        except (tarfile.TarError, OSError, EOFError, zlib.error, ValueError) as cause:
            raise self._refuse(f"it cannot be read, is damaged or cut short: {cause}") from cause
        if missing := [name for name in self.release.files if name not in found]:
            raise self._refuse(f"it has no {' and no '.join(f'{self.release.folder}/{name}' for name in missing)}")
        return found

    def _members(self, archive: tarfile.TarFile) -> dict[str, bytes]:
        found: dict[str, bytes] = {}
        for count, member in enumerate(archive):
            if count >= _MAX_MEMBERS:
                raise ValueError(f"more than {_MAX_MEMBERS} members")
            folder, name = PurePosixPath(member.name).parts[-2:-1], PurePosixPath(member.name).name
            if folder != (self.release.folder,) or name not in self.release.files:
                continue
            content = archive.extractfile(member) if member.isreg() else None
            if content is None or name in found:
                raise ValueError(f"{member.name} is {'in it twice' if name in found else 'no plain file'}")
            found[name] = content.read()
        return found

    def _refuse(self, why: str) -> DataError:
        return DataError(f"CIFAR-100: {self.path}: {why}", hint=_AGAIN)


class _Bounded(gzip.GzipFile):
    """A file that raises an error if it is too long: a few bytes can unpack to any number."""

    def read(self, size: int | None = -1) -> bytes:
        content = super().read(size)
        if self.tell() > MAX_BYTES:
            raise ValueError(f"it unpacks to more than {MAX_BYTES} bytes")
        return content


def find_files(root: Path) -> Unpacked | Archive:
    """Find a release in ``root``: in its folder, in ``root`` itself, or in its archive, in this order.

    Raises `DataError` if files are missing.
    """
    begun = [
        Unpacked(release, folder)
        for release in RELEASES
        for folder in (root / release.folder, root)
        if any((folder / name).is_file() for name in release.files)
    ]
    for found in begun:
        if not found.missing:
            return found
    for release in RELEASES:
        if (root / release.archive).is_file():
            return Archive(release, root / release.archive)
    if begun:
        missing = ", ".join(begun[0].missing)
        raise DataError(f"CIFAR-100: {begun[0].path} is incomplete, it has no file {missing}", hint=HINT)
    there = held(root, "CIFAR-100", HINT)
    expected = " nor ".join(f"{release.folder}/ nor {release.archive}" for release in RELEASES)
    raise DataError(f"CIFAR-100: {root} has neither {expected}; it holds {there}", hint=HINT)


def _checksum(content: Path | bytes, algorithm: str) -> str:
    with io.BytesIO(content) if isinstance(content, bytes) else open(content, "rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.new(algorithm, usedforsecurity=False)).hexdigest()
