"""Digests of classes: two are equal if the files of a class are the same bytes in the same order."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from itertools import islice

Read = Callable[[], bytes]


def content_digest(parts: Iterable[bytes | memoryview]) -> str:
    """Return a digest of the contents of the files of a class, or of its images, in order."""
    return _joined(hashlib.sha256(part).digest() for part in parts)


class ReadFiles:
    """Takes down the digest of each file when it is read to be decoded, so that no file is read twice."""

    def __init__(self, count: int) -> None:
        self._files = [b""] * count  # a file that cannot be read keeps the empty one

    def noted(self, index: int, read: Read) -> Read:
        """Return ``read`` so that the content of file ``index`` is taken down."""

        def noting() -> bytes:
            content = read()
            self._files[index] = hashlib.sha256(content).digest()
            return content

        return noting

    def digests(self, counts: Iterable[int]) -> list[str]:
        """Return the digest of each class, as `content_digest` does; ``counts`` are the files of each, in order."""
        files = iter(self._files)
        return [_joined(islice(files, count)) for count in counts]


def _joined(digests: Iterable[bytes]) -> str:
    return hashlib.sha256(b"".join(digests)).hexdigest()[:32]
