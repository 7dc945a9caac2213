"""Downloads: resumed where they were cut, verified by checksum, put in place only when whole."""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import IO, TYPE_CHECKING

from hnas._version import __version__
from hnas.errors import DataError
from hnas.toolkit.lock import lock
from hnas.toolkit.remote_file import RemoteFile

if TYPE_CHECKING:
    import http.client

ATTEMPTS = 5
"""How often a download is tried before giving up."""
TIMEOUT_S = 30.0
ELSEWHERE = "choose another folder with --data-root"
_CHUNK = 1 << 16

Progress = Callable[[int, int | None], None]
"""Called with the bytes that are there and the bytes expected (``None`` if the server did not send them)."""


def part_path(remote: RemoteFile) -> Path:
    """Return the path of the unfinished download of ``remote``."""
    return remote.path.with_name(remote.path.name + ".part")


def download(
    remote: RemoteFile,
    progress: Progress | None = None,
    *,
    pause_s: float = 1.0,
    elsewhere: str = ELSEWHERE,
) -> None:
    """Bring ``remote`` to its path. An existing file is replaced only by a verified one.

    An unfinished earlier download is continued (HTTP Range). A cut connection is taken up again `ATTEMPTS` times,
    ``pause_s``, 2 ``pause_s``, … apart. Raises `DataError` on an HTTP error, a wrong checksum, a full disk, or while
    another process downloads the same file. ``elsewhere`` is the hint if the folder cannot be written.
    """
    part = part_path(remote)
    try:
        part.parent.mkdir(parents=True, exist_ok=True)
        with part.open("ab") as file:
            _lock(file, remote)
            resumed = file.tell() > 0
            _fill(file, remote, progress, pause_s)
            mismatch = remote.mismatch(part)
            if mismatch and resumed:  # the beginning may be of another version of the file
                _empty(file)
                _fill(file, remote, progress, pause_s)
                mismatch = remote.mismatch(part)
            if mismatch:
                part.unlink()
                raise DataError(
                    f"{remote.url}: the download has {mismatch}; it was thrown away",
                    hint="try again; if it happens again, the publisher's file has changed or a proxy alters it",
                )
            os.fsync(file.fileno())
            os.replace(part, remote.path)
    except OSError as cause:
        if cause.errno in (errno.ENOSPC, errno.EDQUOT):
            raise DataError(
                f"{part}: the disk is full", hint="make room and run the command again; it continues where it stopped"
            ) from cause
        raise DataError(f"{cause.filename or part}: {cause.strerror or cause}", hint=elsewhere) from cause


def _lock(file: IO[bytes], remote: RemoteFile) -> None:
    try:
        lock(file.fileno(), wait=False)
    except BlockingIOError as cause:
        raise DataError(f"{remote.path}: another process is downloading it", hint="wait for that one") from cause


def _fill(file: IO[bytes], remote: RemoteFile, progress: Progress | None, pause_s: float) -> None:
    """Append to ``file`` until it is whole."""
    import http.client  # here, since most commands read `RemoteFile` and download nothing
    import urllib.error

    for attempt in range(1, ATTEMPTS + 1):
        try:
            if _request(file, remote, progress):
                return
            cut = "the connection was cut"
        except urllib.error.HTTPError as cause:
            hint = "the address may have changed; get the file by other means and put it at " + str(remote.path)
            if cause.code not in (408, 429, 500, 502, 503, 504):
                raise DataError(f"{remote.url}: HTTP {cause.code} {cause.reason}", hint=hint) from cause
            cut = f"HTTP {cause.code} {cause.reason}"
        except (urllib.error.URLError, http.client.HTTPException, ConnectionError, TimeoutError) as cause:
            cut = str(getattr(cause, "reason", "") or cause) or type(cause).__name__
        file.flush()
        if attempt == 2 and not file.tell():
            break  # no server answers: more patience would not help
        time.sleep(pause_s * attempt if attempt < ATTEMPTS else 0)
    raise DataError(
        f"{remote.url}: {cut}; {file.tell()} bytes are there",
        hint=f"run the command again to continue, or get the file by other means and put it at {remote.path}",
    )


def _request(file: IO[bytes], remote: RemoteFile, progress: Progress | None) -> bool:
    """Request the missing bytes and append them. Return whether the file is whole."""
    import urllib.error
    import urllib.request

    done = file.tell()
    request = urllib.request.Request(remote.url, headers={"User-Agent": f"hnas/{__version__}"})
    if done:
        request.add_header("Range", f"bytes={done}-")
    try:
        response = urllib.request.urlopen(request, timeout=TIMEOUT_S)
    except urllib.error.HTTPError as cause:
        if cause.code == 416:  # nothing after what we have: the checksum shows whether it is whole
            return True
        raise
    with response:
        if done and response.status != 206:  # a server without Range begins again
            _empty(file)
            done = 0
        length = response.headers.get("Content-Length")
        total = done + int(length) if length and length.isdigit() else None
        if (total or 0) > remote.max_bytes:
            raise DataError(f"{remote.url}: offers {total} bytes, expected at most {remote.max_bytes}")
        while chunk := _receive(response):
            done += len(chunk)
            if done > remote.max_bytes:
                raise DataError(f"{remote.url}: sent more than the {remote.max_bytes} bytes expected at most")
            file.write(chunk)
            if progress:
                progress(done, total)
        file.flush()
    return total is None or done >= total


def _receive(response: http.client.HTTPResponse) -> bytes:
    try:
        return response.read(_CHUNK)
    except OSError as cause:  # so that it is not taken for trouble with the disk
        raise ConnectionError(str(cause)) from cause


def _empty(file: IO[bytes]) -> None:
    file.truncate(0)
    file.seek(0)
