"""Standard output and error while a command runs: they hold whatever is printed, and nothing steers a terminal."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, TextIO, cast

from attrs import define

from hnas.errors import shown

SPELT = str.maketrans({"±": "+-", "≤": "<=", "≥": ">=", "…": "...", "·": "*", "×": "x", "–": "-", "→": "->", "µ": "u"})
"""What stands for our own signs on a stream whose encoding has not all of them."""


@define(eq=False)
class Shown:
    """A stream that escapes control characters, and what its encoding lacks. ``\\n`` and ``\\t`` pass."""

    stream: TextIO
    lossy: bool = False
    """Whether to drop what cannot be written: the terminal of a note may be gone, and then nobody can be told."""
    results: TextIO | None = None
    """For standard output, where a command's JSON goes instead."""

    def write(self, text: str) -> int:
        self._put(shown(text, keep="\n\t"))
        return len(text)

    def writelines(self, lines: Iterable[str]) -> None:
        for line in lines:
            self.write(line)

    def flush(self) -> None:
        with suppress(*[OSError] * self.lossy):
            self.stream.flush()

    @property
    def unescaped(self) -> Shown:
        """The same stream for a progress bar, which steers the terminal."""
        return _Unescaped(self.stream, self.lossy)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)

    def _put(self, text: str) -> None:
        if encoding := self.stream.encoding:
            try:
                text.encode(encoding)
            except UnicodeEncodeError:
                text = text.translate(SPELT).encode(encoding, "backslashreplace").decode(encoding)
        with suppress(*[OSError] * self.lossy):
            self.stream.write(text)


class _Unescaped(Shown):
    """A stream that only its encoding limits."""

    def write(self, text: str) -> int:
        self._put(text)
        return len(text)


@contextmanager
def fit_streams(*, only_json: bool) -> Iterator[None]:
    """Make standard output and error hold whatever a command prints; with ``only_json``, the first gets JSON only."""
    out, err = sys.stdout, sys.stderr
    try:
        sys.stderr = err and cast(TextIO, Shown(err, lossy=True))
        if only_json and out and err:
            with _aside(out) as results:
                sys.stdout = cast(TextIO, Shown(err, lossy=True, results=results))
                yield
        else:
            sys.stdout = out and cast(TextIO, Shown(out))
            yield
    finally:
        sys.stdout, sys.stderr = out, err


@contextmanager
def _aside(out: TextIO) -> Iterator[TextIO]:
    """Yield a stream to standard output, whose descriptor leads to standard error meanwhile.

    So code in C and other processes, which know nothing of ``sys.stdout``, print there as well.
    """
    try:
        real = out.fileno() == 1
    except OSError:
        real = False
    if not real:
        yield out
        return
    out.flush()
    kept = os.dup(1)
    os.dup2(2, 1)
    results = open(kept, "w", encoding=out.encoding, errors=out.errors, closefd=False)  # noqa: SIM115 - see below
    try:
        yield results
    finally:
        import ctypes

        ctypes.CDLL(None).fflush(None)  # what C code has printed waits in a buffer of its own
        with suppress(OSError):  # the reader left
            results.close()
        os.dup2(kept, 1)
        os.close(kept)
