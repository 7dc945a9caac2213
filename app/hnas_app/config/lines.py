"""Where the keys of a TOML text stand: a small scan, since tomllib keeps no positions."""

from __future__ import annotations

import re

_KEY = r"""(?:[A-Za-z0-9_-]+|"[^"\n]*"|'[^'\n]*')"""
_DOTTED = rf"{_KEY}(?:\s*\.\s*{_KEY})*"
_HEADER = re.compile(rf"\s*\[\[?\s*({_DOTTED})\s*\]")
_ASSIGNMENT = re.compile(rf"\s*({_DOTTED})\s*=")


class KeyLines:
    """Line numbers, from 1, of the keys in a TOML text.

    The scan takes anything that looks like a key; text inside a multi-line string may look like one too, so callers ask
    only for keys that tomllib found.
    """

    def __init__(self, text: str) -> None:
        self._lines: dict[tuple[str, ...], int] = {}
        table: tuple[str, ...] = ()
        for number, line in enumerate(text.splitlines(), start=1):
            if header := _HEADER.match(line):
                table = _parts(header[1])
                self._lines.setdefault(table, number)
            elif assignment := _ASSIGNMENT.match(line):
                self._lines.setdefault(table + _parts(assignment[1]), number)

    def of(self, *keys: str) -> int:
        """Return the line of a key, or of the nearest table around it."""
        for length in range(len(keys), 0, -1):
            if keys[:length] in self._lines:
                return self._lines[keys[:length]]
        # The table may only be named as part of a longer, dotted key.
        return min((n for k, n in self._lines.items() if k[: len(keys)] == keys), default=1)


def _parts(dotted: str) -> tuple[str, ...]:
    return tuple(part.strip("\"'") for part in re.findall(_KEY, dotted))
