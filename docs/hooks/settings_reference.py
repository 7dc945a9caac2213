"""Writes the tables of all settings from the program itself, where their page has a mark (mkdocs hook)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import attrs

MARK = "<!-- the settings -->"
PLURALS = {
    "space": "search spaces",
    "learner": "meta-learners",
    "backend": "backends",
    "strategy": "search strategies",
    "tasks": "task sources",
}
PRESETS = ("none", "quick", "small", "paper")


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Called by mkdocs with the text of every page."""
    return markdown.replace(MARK, "\n\n".join(_tables())) if MARK in markdown else markdown


def _tables() -> Iterator[str]:
    """Yield the headings and tables: those of hnas, then those of every built-in plugin."""
    from hnas.discovery import KINDS, Registry, options_of
    from hnas_app.config.load import load_config
    from hnas_app.config.schema import SECTIONS, Config

    registry = Registry(third_party=False)

    def resolved(**chosen: str) -> list[Any]:
        return [load_config(registry, env={}, preset=preset, arguments=chosen).config for preset in PRESETS]

    whole = resolved()
    yield "## Settings of hnas"
    own = [f for f in attrs.fields(Config) if f.name not in (*KINDS, *SECTIONS, "preset")]
    yield _table("", own, whole)
    for name, section in SECTIONS.items():
        yield f"### `[{name}]`"
        yield _table(f"{name}.", attrs.fields(section), [getattr(config, name) for config in whole])
    for kind in KINDS:
        yield f"## Options of {PLURALS[kind]}"
        for found in registry.list(kind):
            fields = attrs.fields(options_of(found))
            yield f"### `{kind}.name={found.plugin.name}`"
            yield f"{found.plugin.summary[:1].upper()}{found.plugin.summary[1:]}."
            values = [getattr(config, kind).options for config in resolved(**{kind: found.plugin.name})]
            yield _table(f"{kind}.", fields, values) if fields else "It has no options."


def _table(prefix: str, fields: Any, values: list[Any]) -> str:
    """Return a row for each key: its value in each preset if that is not the default, and what it means."""
    rows = ["| key | default | `quick` | `small` | `paper` | meaning |", "|---|---|---|---|---|---|"]
    for field in fields:
        default, *others = [getattr(value, field.name, None) for value in values]
        cells = [_cell(default), *("" if other == default else _cell(other) for other in others)]
        told = str(field.metadata.get("help", "")).replace("<", "&lt;").replace("|", "\\|")
        rows.append(f"| `{prefix}{field.name}` | {' | '.join(cells)} | {told} |")
    return "\n".join(rows)


def _cell(value: Any) -> str:
    """Return a value as ``--set`` takes it."""
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    text = ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
    return f"`{text}`".replace("|", "\\|") if text else "(empty)"
