"""Putting a configuration together: the chosen plugins, and the value of every option of theirs and of hnas."""

from __future__ import annotations

import difflib
import typing
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

import attrs
from attrs import define, field, frozen

from hnas.discovery import KINDS, Kind, Registered, Registry
from hnas.errors import ConfigError, HnasError, PluginError, close_matches
from hnas_app.config.mistakes import Mistakes
from hnas_app.config.plugin_presets import applied
from hnas_app.config.presets import PRESETS
from hnas_app.config.removed import removed_of
from hnas_app.config.schema import SECTIONS, Config, LoadedConfig, PluginChoice
from hnas_app.config.sources import Entry
from hnas_app.config.values import describe, parse_text, read, read_text, sentence, validate
from hnas_app.costs.limits import Constraint

_FIELDS = {f.name: f for f in attrs.fields(Config)}
_HINTS = typing.get_type_hints(Config)
_PLAIN = {name: f for name, f in _FIELDS.items() if name not in SECTIONS and name not in KINDS}
Fields = Mapping[str, "attrs.Attribute[Any]"]


@frozen
class _Chosen:
    """A plugin by name, and the source of that setting."""

    kind: Kind
    name: str
    device: str | None
    """What stood behind its colon."""
    plugin: Registered | PluginError
    """The plugin, or why there is none: raised after the mistakes in other sections are known."""
    origin: str
    own: list[str | None]
    """The plugin that each layer names itself: its table is meant for that."""


@define
class Resolver:
    """Puts layers of entries together, the last one wins; collects their mistakes."""

    registry: Registry
    mistakes: Mistakes
    only_read: bool = False
    origins: dict[str, str] = field(factory=dict)
    notes: list[str] = field(factory=list)
    _preset_name: str = field(default="none", init=False)
    _plugins: list[Registered] = field(factory=list, init=False)
    """Those that are chosen."""

    def resolve(self, layers: list[list[Entry]]) -> LoadedConfig:
        preset = self._preset_name = self._preset(layers)
        chosen = [self._chosen(kind, preset, layers) for kind in KINDS]
        self._plugins = [c.plugin for c in chosen if isinstance(c.plugin, Registered)]
        entries = applied(preset, self._plugins)
        # The file of a run holds its preset's values. One that it lacks came later, with a default as it was before.
        of_run = any(entry.recorded for layer in layers for entry in layer)
        values = self._values("", _PLAIN, _HINTS, entries[""], layers)
        for section, cls in SECTIONS.items():
            below = {} if of_run else entries.get(section, {})
            given = self._values(section, _fields(cls), typing.get_type_hints(cls), below, layers)
            values[section] = self._make(section, cls, given)
        for choice in chosen:
            own = of_run and choice.own[0] == choice.name
            values[choice.kind] = self._plugin(choice, {} if own else entries.get(choice.kind, {}), layers)
        if self.mistakes:
            raise self.mistakes.report()
        return LoadedConfig(config=Config(**values), origins=self.origins, notes=tuple(self.notes))

    def known(self, layer: int, entries: Sequence[Entry]) -> list[Entry]:
        """Return the entries whose section exists; a plugin given by its name alone becomes ``<kind>.name``."""
        kept = []
        for entry in entries:
            first, *rest = entry.keys
            if first not in _FIELDS:
                text = f"unknown key{_suggest(entry.keys)}"
            elif first in KINDS and not rest and not isinstance(entry.value, str):
                text = f"expected a plugin's name or a table, got {entry.value!r}"
            elif first in SECTIONS and not rest:
                text = f"expected a table, got {type(entry.value).__name__} {entry.value!r}"
            elif first in _PLAIN and rest:
                text = f"unknown key: {first!r} is a single value, not a table"
            else:
                kept.append(entry if rest or first in _PLAIN else attrs.evolve(entry, keys=(first, "name")))
                continue
            self.mistakes.add_entry(layer, entry, text)
        return kept

    def _preset(self, layers: list[list[Entry]]) -> str:
        name = str(_FIELDS["preset"].default)
        for i, layer in enumerate(layers):
            for entry in layer:
                if entry.keys == ("preset",) and isinstance(entry.value, str):
                    if entry.value in PRESETS:
                        name = entry.value
                    else:
                        text = f"unknown preset {entry.value!r}.{close_matches(entry.value, PRESETS)}"
                        self.mistakes.add_entry(i, entry, f"{text} Known: {', '.join(PRESETS)}")
        return name

    def _values(
        self,
        section: str,
        fields: Fields,
        hints: Mapping[str, Any],
        preset: Mapping[str, tuple[Any, str]],
        layers: list[list[Entry]],
        default: str = "default",
    ) -> dict[str, Any]:
        """Return the values given for the fields of a section, read and checked; the last layer wins."""
        dotted = {name: f"{section}.{name}" if section else name for name in fields}
        self.origins.update({dotted[name]: default for name in fields})
        values: dict[str, Any] = {}
        for name, (value, origin) in preset.items():
            values[name], self.origins[dotted[name]] = read(value, hints[name]), origin
        for i, layer in enumerate(layers):
            for entry in layer:
                if (entry.keys[0] if len(entry.keys) == 2 else "") != section:
                    continue
                name = entry.keys[-1]
                if name not in fields:
                    if section:
                        self.mistakes.add_entry(i, entry, f"unknown key{_suggest(entry.keys, list(fields))}")
                    continue
                try:
                    value = (read_text if entry.text else read)(entry.value, hints[name])
                    validate(fields[name], value)
                    for limit in value if entry.keys == ("constraints",) else ():
                        Constraint.parse(limit)
                except (ValueError, ConfigError) as cause:
                    hint = f"; {cause.hint}" if isinstance(cause, ConfigError) and cause.hint else ""
                    self.mistakes.add_entry(i, entry, f"{cause}{hint}")
                    continue
                values[name], self.origins[dotted[name]] = value, entry.origin
        return values

    def _chosen(self, kind: Kind, preset: str, layers: list[list[Entry]]) -> _Chosen:
        """Return the plugin of a kind that the last layer names."""
        name, origin = getattr(Config(), kind).name, "default"
        own: list[str | None] = []
        if isinstance(named := PRESETS[preset].get(kind, {}).get("name"), str):
            name, origin = named, f"preset {preset}"
        for i, layer in enumerate(layers):
            own.append(None)
            for entry in layer:
                if entry.keys != (kind, "name"):
                    continue
                try:
                    name = own[i] = (read_text if entry.text else read)(entry.value, str)
                    origin = entry.origin
                except ValueError as cause:
                    self.mistakes.add_entry(i, entry, str(cause))
        device: str | None = None
        try:
            if kind == "backend":
                name, device = self.registry.split_device(name)
            plugin: Registered | PluginError = self.registry.get(kind, name)
        except PluginError as cause:
            plugin = cause
        return _Chosen(kind, name, device, plugin, origin, own)

    def _plugin(
        self, chosen: _Chosen, preset: Mapping[str, tuple[Any, str]], layers: list[list[Entry]]
    ) -> PluginChoice:
        kind, name, origin, own, registered = chosen.kind, chosen.name, chosen.origin, chosen.own, chosen.plugin
        try:
            if isinstance(registered, PluginError):
                raise registered
            if kind == "backend":
                own = [whose and self.registry.split_device(whose)[0] for whose in own]
            cls = self.registry.options_class(kind, name)
        except PluginError as cause:
            if origin != "default":
                others = f"\nother mistakes:\n{self.mistakes.listed()}" if self.mistakes else ""
                raise PluginError(f"{origin}: {cause}{others}", hint=cause.hint) from cause
            raise
        hints = _plugin_hints(kind, name, cls)
        meant = [
            [e for e in layer if e.keys[0] == kind and e.keys[1] != "name" and self._is_meant(e, whose, chosen, hints)]
            for whose, layer in zip(own, layers, strict=True)
        ]
        meant = [[e for e in layer if not self._is_removed(i, e, cls, hints)] for i, layer in enumerate(meant)]
        usable = _usable(preset, cls, hints)
        values = self._values(kind, _fields(cls), hints, usable, meant, default="plugin default")
        self.origins[f"{kind}.name"] = origin
        if chosen.device is not None:
            self._name_device(name, chosen.device, origin, cls, values)
        for f in _fields(cls).values():
            if f.default is attrs.NOTHING and f.name not in values:
                text = f"{kind}.{f.name}: missing: the {kind} {name!r} needs it, a value of {describe(hints[f.name])}"
                self.mistakes.add(len(layers), text)
        # A class from user code is recorded by its absolute path, so that a run can be resumed from any folder.
        full_name = registered.plugin.name if ":" in registered.plugin.name else name
        return PluginChoice(name=full_name, options=self._make(kind, cls, values))

    def _name_device(self, name: str, device: str, origin: str, cls: type, values: dict[str, Any]) -> None:
        """Set the device named behind the colon of ``arm:pi4``, overriding all other sources."""
        if "device" not in _fields(cls):
            self.mistakes.add(3, f"{origin}: {name!r} has no devices to choose from, got {device!r}")
        elif not device:
            self.mistakes.add(3, f"{origin}: expected the name of a device after '{name}:'")
        else:
            values["device"], self.origins["backend.device"] = device, origin

    def _is_meant(self, entry: Entry, whose: str | None, chosen: _Chosen, hints: Mapping[str, Any]) -> bool:
        """Return whether an option counts: that of another plugin does if the user gave it, and both have it."""
        kind, option = chosen.kind, entry.keys[1]
        if whose is None or whose == chosen.name:
            return True
        if entry.recorded and not self._was_given(kind, whose, entry):
            return False
        if option in hints and option != "device":  # a device's name means nothing to another backend
            with suppress(ValueError, ConfigError):
                (read_text if entry.text else read)(entry.value, hints[option])
                return True
        key = ".".join(entry.keys)
        self.notes.append(f"{key} ({entry.origin}) was given for {whose!r} and is not used with {chosen.name!r}")
        return False

    def _was_given(self, kind: Kind, whose: str, entry: Entry) -> bool:
        """Return whether an option in a run's file is neither the default of its plugin nor its preset's value."""
        try:
            plugin, cls = self.registry.get(kind, whose), self.registry.options_class(kind, whose)
        except PluginError:
            return True
        option, others = entry.keys[1], [p for p in self._plugins if p.kind != kind]
        f = _fields(cls).get(option)
        preset = applied(self._preset_name, (*others, plugin)).get(kind, {}).get(option, (None, ""))
        return f is None or entry.value not in (f.default, preset[0])

    def _is_removed(self, layer: int, entry: Entry, cls: type, hints: Mapping[str, Any]) -> bool:
        """Return whether an option or its value was removed: a mistake unless a run recorded the present behaviour."""
        name, gone = entry.keys[1], entry.keys[1] not in _fields(cls)
        values = removed_of(cls).get(name)
        value = parse_text(entry.value) if entry.text else entry.value
        if values is None or (not gone and value not in values):
            return False
        if not entry.recorded:
            text = "this option was removed" if gone else f"{value!r} was removed, expected {describe(hints[name])}"
            self.mistakes.add_entry(layer, entry, text)
        elif value in values and not self.only_read:
            text = f"{value!r} was removed, so this run can be shown, but not continued"
            self.mistakes.add_entry(layer, entry, text)
        return True

    def _make(self, section: str, cls: type, values: Mapping[str, Any]) -> Any:
        if self.mistakes:
            return None
        try:
            return cls(**{f.alias or f.name: values[f.name] for f in _fields(cls).values() if f.name in values})
        except (ValueError, TypeError, HnasError) as cause:
            self.mistakes.add(3, f"{section}: {sentence(cause, section, values)}")
            return None


def _plugin_hints(kind: Kind, name: str, cls: Any) -> dict[str, Any]:
    if not attrs.has(cls):
        raise PluginError(f"{kind} {name!r}: its options are {cls!r}, expected an attrs class")
    try:
        return typing.get_type_hints(cls)
    except Exception as cause:
        raise PluginError(f"{kind} {name!r}: the types of its options cannot be resolved: {cause}") from cause


def _usable(preset: Mapping[str, tuple[Any, str]], cls: type, hints: Mapping[str, Any]) -> dict[str, tuple[Any, str]]:
    """Return the options of a preset that a plugin has, with values that it accepts."""
    usable, fields = {}, _fields(cls)
    for key, (value, origin) in preset.items():
        if key in fields:
            with suppress(ValueError):
                validate(fields[key], read(value, hints[key]))
                usable[key] = (value, origin)
    return usable


def _fields(cls: Any) -> dict[str, attrs.Attribute[Any]]:
    return {f.name: f for f in attrs.fields(cls) if f.init}


def _suggest(keys: tuple[str, ...], siblings: Sequence[str] | None = None) -> str:
    """Suggest the key that may have been meant: a sibling, or the same word in another section."""
    word, known = keys[-1], list(_FIELDS) if siblings is None else [f"{keys[0]}.{s}" for s in siblings]
    guesses = difflib.get_close_matches(".".join(keys) if siblings is not None else keys[0], known, n=2, cutoff=0.7)
    guesses = guesses or [f"{section}.{word}" for section, cls in SECTIONS.items() if word in _fields(cls)]
    if guesses:
        return f"  -> did you mean {' or '.join(map(repr, guesses))}?"
    return f"  -> known: {', '.join(known) or 'none'}"
