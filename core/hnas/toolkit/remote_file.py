"""A file of a data set that can be downloaded: where it comes from, and how it is recognised."""

from __future__ import annotations

import hashlib
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

from attrs import field, frozen


def _checked_url(_: object, __: object, url: str) -> None:
    if urlsplit(url).scheme not in ("http", "https"):
        raise ValueError(f"{url!r}: only http and https addresses are downloaded")


@frozen(kw_only=True)
class RemoteFile:
    """A file of a data set: where it comes from, where it belongs, and how to recognise it.

    ``md5`` is for files whose publishers give nothing better; it guards against damage, not against an attacker.
    ``max_bytes`` bounds the bytes accepted from the server.
    """

    url: str = field(validator=_checked_url)
    path: Path
    sha256: str | None = None
    md5: str | None = None
    licence: str = "not stated"
    max_bytes: int = 4 << 30

    def __attrs_post_init__(self) -> None:
        if not self.sha256 and not self.md5:
            raise ValueError(f"{self.url}: a download needs a checksum")

    def mismatch(self, path: Path) -> str | None:
        """Return how ``path`` differs from the expected file, or ``None`` if every known checksum agrees."""
        for name, expected in (("sha256", self.sha256), ("md5", self.md5)):
            if expected:
                with path.open("rb") as file:
                    seen = hashlib.file_digest(file, partial(hashlib.new, name, usedforsecurity=False)).hexdigest()
                if seen != expected.lower():
                    return f"{name} {seen}, expected {expected}"
        return None
