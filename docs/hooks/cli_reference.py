"""Writes the reference of the command line from the program itself, where its page has a mark (mkdocs hook)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import typer
import typer.main

MARK = "<!-- the commands -->"


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Called by mkdocs with the text of every page."""
    return markdown.replace(MARK, reference()) if MARK in markdown else markdown


def reference() -> str:
    """Return all commands in Markdown: what ``--help`` says of each."""
    from hnas_app.cli import app

    return "\n\n".join(_command(typer.main.get_command(app), "hnas"))


def _command(command: Any, name: str) -> Iterator[str]:
    """Yield the paragraphs of a command, then those of its sub-commands. Its class is of the click that typer holds."""
    from hnas_app.cli.examples import EXAMPLES

    context = typer.Context(command, info_name=name)
    yield f"## `{name}`"
    yield _text(command.help)
    yield f"```text\n{' '.join([name, *command.collect_usage_pieces(context)])}\n```"
    rows = [row for parameter in command.get_params(context) if (row := _parameter(parameter, context))]
    if rows:
        yield "\n".join(["| argument or option | meaning, known values and default |", "|---|---|", *rows])
    if examples := EXAMPLES.get(name.partition(" ")[2]):
        lines = "\n".join(f"$ {example}" for example in examples)
        yield f"```console\n{lines}\n```"
    for sub, found in sorted(getattr(command, "commands", {}).items()):
        if not found.hidden:
            yield from _command(found, f"{name} {sub}")


def _parameter(parameter: Any, context: Any) -> str:
    """Return a row of the table, or nothing for ``--help`` itself and hidden options."""
    from hnas_app.cli.help_text import record

    row = record(parameter, context)
    if row is None or "--help" in parameter.opts:
        return ""
    names, told = row[0].replace("|", "\\|"), _text(row[1]).replace("|", "\\|")
    return f"| `{names}` | {told} |"


def _text(text: str | None) -> str:
    """Join lines within a paragraph; what could be read as HTML is none."""
    paragraphs = (text or "").replace("\f", "").replace("<", "&lt;").split("\n\n")
    return "\n\n".join(" ".join(p.split()) for p in paragraphs)
