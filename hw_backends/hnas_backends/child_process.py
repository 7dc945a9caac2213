"""Run a program with bounds on its time and on its output, so that memory stays flat whatever it writes."""

from __future__ import annotations

import os
import selectors
import subprocess
import tempfile
import time
from collections.abc import Sequence
from typing import Any

MOST_BYTES = 1 << 20


class TooMuchOutput(subprocess.SubprocessError):
    """A program wrote more than `MOST_BYTES` to its standard output or to its standard error."""


def run(
    argv: Sequence[str], *, timeout_s: float, stdin: bytes = b"", **options: Any
) -> subprocess.CompletedProcess[bytes]:
    """Run a program in a session of its own until it ends, also if a process that it started keeps its output open.

    Raises `OSError`, `subprocess.TimeoutExpired` and `TooMuchOutput`; the program has then been killed.
    """
    end, got = time.monotonic() + timeout_s, (bytearray(), bytearray())
    with tempfile.TemporaryFile(buffering=0) as given, selectors.DefaultSelector() as ready:
        given.write(stdin)
        given.seek(0)
        with subprocess.Popen(argv, stdin=given, stdout=-1, stderr=-1, start_new_session=True, **options) as process:
            for stream, kept in zip((process.stdout, process.stderr), got, strict=True):
                ready.register(stream, selectors.EVENT_READ, kept)  # type: ignore[arg-type]
            try:
                while ready.get_map() or process.poll() is None:
                    ended = process.poll() is not None
                    events = ready.select(0 if ended else 0.05)
                    for key, _ in events:
                        key.data.extend(chunk := os.read(key.fd, 1 << 16))
                        if not chunk:
                            ready.unregister(key.fileobj)
                        if len(key.data) > MOST_BYTES:
                            raise TooMuchOutput(f"it wrote more than 1 MiB, beginning with {bytes(key.data[:60])!r}")
                    if ended and not events:
                        break
                    if time.monotonic() > end:
                        raise subprocess.TimeoutExpired(argv, timeout_s)
            except BaseException:
                if process.returncode is None:
                    os.killpg(process.pid, 9)
                raise
    return subprocess.CompletedProcess(argv, process.returncode, bytes(got[0]), bytes(got[1]))
