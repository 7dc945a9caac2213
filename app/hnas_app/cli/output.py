"""What commands print: results on standard output, the next command and notes on standard error."""

from __future__ import annotations

import json
import sys
import textwrap
from collections.abc import Callable, Iterable, Sequence
from shutil import get_terminal_size
from typing import Any, TextIO

from hnas.errors import ConfigError, shown

_NARROWEST = 5
"""Columns that a cell keeps, however narrow the terminal is."""


def print_json(value: Any) -> None:
    """Print a value as JSON on standard output, in ASCII: it fits any encoding, and steers no terminal."""
    print(json.dumps(value, indent=2, default=_plain), file=getattr(sys.stdout, "results", None), flush=True)


def print_table(head: Sequence[str], rows: Iterable[Sequence[Any]], *, fit: bool = False) -> None:
    """Print rows in columns as wide as they need; with ``fit``, a narrow terminal cuts all but the first (``…``)."""
    cells = [[shown(str(c)) for c in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(head, *cells, strict=True)]
    while fit and sys.stdout.isatty() and _across(widths) > get_terminal_size().columns:
        if max(widths[1:], default=0) <= _NARROWEST:  # the first column is a name, to be typed again
            break
        widths[1 + widths[1:].index(max(widths[1:]))] -= 1
    for row in [list(head), *cells]:
        fitted = (_cut(c, w) for c, w in zip(row, widths, strict=True))
        print("  ".join(c.ljust(w) for c, w in zip(fitted, widths, strict=True)).rstrip())


def print_in_parts(head: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    """Print rows of numbers, none of which may be cut: columns for which a terminal has no room follow below.

    The first column, of names, is repeated there.
    """
    width = get_terminal_size().columns
    widths = [max(len(str(c)) for c in column) for column in zip(head, *rows, strict=True)]
    if not sys.stdout.isatty() or _across(widths) <= width:
        return print_table(head, rows)
    first = next((n for n in range(len(head) - 1, 2, -1) if _across(widths[:n]) <= width), 2)
    first -= first == len(head) - 1 > 2  # no column stands alone
    print_table(head[:first], [row[:first] for row in rows if any(row[1:first])])
    if first < len(head):
        print()
        print_in_parts([head[0], *head[first:]], [[row[0], *row[first:]] for row in rows])


def _across(widths: Sequence[int]) -> int:
    return sum(widths) + 2 * len(widths) - 2


def _cut(text: str, width: int) -> str:
    return text if len(text) <= width else f"{text[: width - 1]}…"


def print_text(text: str, *, file: TextIO | None = None) -> None:
    """Print sentences: on a terminal broken between words, elsewhere a line each."""
    stream = sys.stdout if file is None else file
    if stream.isatty():
        width = get_terminal_size().columns
        wrapped = (
            textwrap.fill(line, width, break_long_words=False, break_on_hyphens=False) for line in text.split("\n")
        )
        text = "\n".join(wrapped)
    print(text, file=stream)


def note(text: str) -> None:
    """Print a sentence for the user on standard error."""
    print_text(f"note: {shown(text)}", file=sys.stderr)


def say_next(command: str) -> None:
    """Print the command that usually comes next, on standard error so that results can be piped."""
    sys.stdout.flush()
    print(f"next: {command}", file=sys.stderr)


def confirm(yes: bool) -> Callable[[str], bool]:
    """Return a function that asks the user: it prints the question and assumes yes, or asks on the terminal."""

    def ask(question: str) -> bool:
        if yes:
            print(question, "yes", file=sys.stderr)
            return True
        if not sys.stdin.isatty():
            print(question, file=sys.stderr)
            raise ConfigError("this needs an answer, and there is no terminal to ask", hint="answer by --yes")
        import typer

        return typer.confirm(question, err=True)

    return ask


def _plain(value: Any) -> Any:
    if isinstance(value, set | frozenset):
        return sorted(value)
    return str(value)
