"""The values that a plugin adds to the presets when it is chosen: `hnas.Plugin.presets`, checked against the schema."""

from __future__ import annotations

import typing
from collections.abc import Iterable, Mapping
from typing import Any

import attrs

from hnas.discovery.descriptors import KINDS, Registered
from hnas.discovery.loading import options_of, resolve
from hnas.errors import PluginError, close_matches
from hnas_app.config.presets import PRESETS
from hnas_app.config.schema import SECTIONS
from hnas_app.config.values import read, validate

Table = Mapping[str, Mapping[str, Any]]
"""Section, key and value."""


def presets_of(registered: Registered) -> Mapping[str, Table]:
    """Return a plugin's tables by preset. Raises `PluginError` for an invalid one.

    Options of other plugins are not looked up: they apply if the chosen one has them.
    """
    if not registered.plugin.presets:
        return {}
    found: Mapping[str, Table] = resolve(registered.plugin.presets, registered)
    for preset, table in _items(found, f"{registered.title}: presets"):
        _known("preset", preset, PRESETS, f"{registered.title}: presets")
        where = f"{registered.title}: presets[{preset!r}]"
        for section, values in _items(table, where):
            _known("section", section, (*SECTIONS, *KINDS), where)
            entries = _items(values, f"{where}[{section!r}]")
            cls = options_of(registered) if section == registered.kind else SECTIONS.get(section)
            if cls is None:
                continue
            fields, hints = attrs.fields_dict(cls), typing.get_type_hints(cls)
            for key, value in entries:
                _known("key", key, fields, f"{where}[{section!r}]")
                try:
                    validate(fields[key], read(value, hints[key]))
                except ValueError as cause:
                    raise PluginError(f"{where}[{section!r}][{key!r}]: {cause}") from cause
    return found


def applied(name: str, plugins: Iterable[Registered]) -> dict[str, dict[str, tuple[Any, str]]]:
    """Return a preset's values when ``plugins`` are chosen: section ("" for single values) → key → value, origin.

    A plugin's value overrides the application's. Raises `PluginError` as `presets_of` does.
    """
    found: dict[str, dict[str, tuple[Any, str]]] = {"": {}}
    for section, values in PRESETS[name].items():
        where, table = (section, values) if isinstance(values, Mapping) else ("", {section: values})
        found.setdefault(where, {}).update({key: (value, f"preset {name}") for key, value in table.items()})
    for plugin in plugins:
        for section, table in presets_of(plugin).get(name, {}).items():
            told = f"preset {name} for {plugin.plugin.name}"
            found.setdefault(section, {}).update({key: (value, told) for key, value in table.items()})
    return found


def _items(table: Any, where: str) -> Iterable[tuple[Any, Any]]:
    if not isinstance(table, Mapping):
        raise PluginError(f"{where}: expected a mapping, got {table!r}")
    return table.items()


def _known(what: str, word: Any, known: Iterable[str], where: str) -> None:
    if word not in (names := list(known)):
        raise PluginError(f"{where}: unknown {what} {word!r}.{close_matches(str(word), names)}")
