"""How far a download is, on standard error."""

from __future__ import annotations

import sys


class Meter:
    """Prints how far a download is: in one line on a terminal, at every quarter elsewhere."""

    def __init__(self) -> None:
        self._said = -1

    def __call__(self, done: int, total: int | None) -> None:
        terminal = sys.stderr.isatty()
        share = done * 100 // total if total else done >> 20
        if share == self._said or (not terminal and share < self._said + 25 and done != total):
            return
        self._said = share
        text = f"  {done / 1e6:.1f} MB" + (f" of {total / 1e6:.1f} MB" if total else "")
        stream = getattr(sys.stderr, "unescaped", sys.stderr)
        print(f"\r{text}" if terminal else text, end="\n" if not terminal or done == total else "", file=stream)
