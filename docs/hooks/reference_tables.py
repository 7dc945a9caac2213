"""Writes the table of names into each page of docs/reference: a checkout shows nothing else of what the site does.

``python docs/hooks/reference_tables.py`` rewrites the pages; a test holds them to the code.
"""

from __future__ import annotations

import importlib
import inspect
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

BEGIN, END = "<!-- names: written by docs/hooks/reference_tables.py -->", "<!-- end of names -->"
PAGES = sorted((Path(__file__).parents[1] / "reference").glob("*.md"))
_TABLE = re.compile(f"{re.escape(BEGIN)}\n.*?{re.escape(END)}", re.S)


def with_table(page: str) -> str:
    """Return a page with the table of what it is about: its ``:::`` names, or all commands."""
    found = list(_commands() if "<!-- the commands -->" in page else _names(page))
    rows = [f"| `{name}` | {told.replace('|', chr(92) + '|')} |" for name, told in found]
    table = "\n".join([BEGIN, "", "| name | what it is |", "|---|---|", *rows, "", END])
    return _TABLE.sub(lambda _: table, page)


def _names(page: str) -> Iterator[tuple[str, str]]:
    for name in re.findall(r"^::: (\S+)$", page, re.M):
        module, _, last = name.rpartition(".")
        found = getattr(importlib.import_module(module), last, None)
        found = importlib.import_module(name) if found is None else found
        if not inspect.ismodule(found):
            yield name, _first_line(found)
        if inspect.ismodule(found) or inspect.isabstract(found):
            for inner, member in vars(found).items():
                own = getattr(member, "__module__", None) == getattr(found, "__module__", name)
                if not inner.startswith("_") and (isinstance(member, property) or (inspect.isfunction(member) and own)):
                    yield f"{name}.{inner}", _first_line(member)


def _commands() -> Iterator[tuple[str, str]]:
    import typer.main

    from hnas_app.cli import app

    def walk(command: Any, name: str) -> Iterator[tuple[str, str]]:
        yield name, (command.help or "").partition("\n")[0]
        for sub, inner in sorted(getattr(command, "commands", {}).items()):
            if not inner.hidden:
                yield from walk(inner, f"{name} {sub}")

    yield from walk(typer.main.get_command(app), "hnas")


def _first_line(found: Any) -> str:
    first = (inspect.getdoc(found) or "").partition("\n")[0]
    return f"(abstract) {first}" if getattr(found, "__isabstractmethod__", False) else first


if __name__ == "__main__":
    for path in PAGES:
        path.write_text(with_table(path.read_text(encoding="utf-8")), encoding="utf-8")
