"""Digests of classes, by which a run recognises those that it was trained with."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from itertools import islice

from hnas_plugins.tasks.images.array_cache import Images, release

Read = Callable[[], bytes]


def content_digest(parts: Iterable[bytes | memoryview]) -> str:
    """Return a digest of the content of a class: of its files or images, in order."""
    return _joined(hashlib.sha256(part).digest() for part in parts)


def image_digests(images: Images, counts: Iterable[int]) -> list[str]:
    """Return the digest of each class of ``images`` (N, H, W, C); ``counts`` are the images of each, in order."""
    found, start = list[str](), 0
    for count in counts:
        found.append(content_digest(image.data for image in images[start : start + count]))
        start += count
        release(images)
    return found


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
