"""What commands print: results on standard output, the next command and notes on standard error."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Sequence
from typing import Any

from hnas.errors import shown


def print_json(value: Any) -> None:
    """Print a value as JSON on standard output, in ASCII: it fits any encoding, and steers no terminal."""
    print(json.dumps(value, indent=2, default=_plain), file=getattr(sys.stdout, "results", None), flush=True)


def print_table(head: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Print rows in columns as wide as they need; the last column is not cut."""
    cells = [[shown(str(c)) for c in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(head, *cells, strict=True)]
    for row in [list(head), *cells]:
        print("  ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)).rstrip())


def note(text: str) -> None:
    """Print a sentence for the user on standard error."""
    print(f"note: {shown(text)}", file=sys.stderr)


def say_next(command: str) -> None:
    """Print the command that usually comes next, on standard error so that results can be piped."""
    sys.stdout.flush()
    print(f"next: {command}", file=sys.stderr)


def _plain(value: Any) -> Any:
    if isinstance(value, set | frozenset):
        return sorted(value)
    return str(value)
