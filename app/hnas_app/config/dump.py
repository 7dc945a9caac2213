"""Write a resolved configuration as TOML that `load_config` reads back, and flatten it to dotted keys."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from enum import Enum
from pathlib import PurePath
from typing import Any

import attrs

from hnas.errors import ConfigError, shown
from hnas_app.config.schema import Config, PluginChoice

_NAME: attrs.Attribute[str] = attrs.fields(PluginChoice).name


def flatten(config: Config) -> dict[str, Any]:
    """Return every value by its dotted key: ``{"seed": 0, "space.name": "vgg9", "space.base_width": 16, …}``."""
    return {key: value for key, _, value in _settings(config)}


def dump_toml(config: Config, comments: Mapping[str, str] | None = None) -> str:
    """Return ``config`` as TOML. ``comments`` maps dotted keys to the comment behind a value.

    An option that is ``None`` by default and has no value is left out, since TOML has no null.
    """
    top: list[str] = []
    tables: list[str] = []
    section = ""
    for key, value in flatten(config).items():
        head, _, name = key.rpartition(".")
        lines = tables if head else top
        if head != section and head:
            lines.append(f"\n[{head}]")
            section = head
        if value is None:
            continue
        comment = f"  # {shown(comments[key])}" if comments and comments.get(key) else ""
        lines.append(f"{name} = {toml_value(value, key)}{comment}")
    return "\n".join(top + tables) + "\n"


def toml_value(value: Any, key: str = "value") -> str:
    """Return one value as TOML. Raises `ConfigError` for a value that TOML cannot hold."""
    match value:
        case bool():
            return "true" if value else "false"
        case Enum():
            return toml_value(value.value, key)
        case int() | float():
            return repr(value)
        case str() | PurePath():
            # A JSON string is a TOML string, except for control characters that JSON leaves alone.
            text = json.dumps(str(value), ensure_ascii=False)
            return "".join(c if c.isprintable() else f"\\U{ord(c):08x}" for c in text)
        case list() | tuple():
            return "[" + ", ".join(toml_value(v, key) for v in value) + "]"
        case dict():
            return "{" + ", ".join(f"{toml_value(str(k))} = {toml_value(v, key)}" for k, v in value.items()) + "}"
    raise ConfigError(f"{key}: a {type(value).__name__} cannot be written to a configuration file: {value!r}")


def help_texts(config: Config) -> dict[str, str]:
    """Return the help of every value by its dotted key."""
    return {key: option.metadata.get("help", "") for key, option, _ in _settings(config) if option is not _NAME}


def at_default(config: Config) -> set[str]:
    """Return the dotted keys whose value is their option's default, for the options that have one."""
    found = set()
    for key, option, value in _settings(config):
        default: Any = option.default
        if isinstance(default, attrs.Factory):  # type: ignore[arg-type]
            default = attrs.NOTHING if default.takes_self else default.factory()
        if "." in key and value == default:
            found.add(key)
    return found


def after_training(config: Config) -> set[str]:
    """Return the dotted keys that may have another value after the super-net was trained; see `setting`."""
    return {key for key, option, _ in _settings(config) if option.metadata.get("after_training")}


def _settings(config: Config) -> Iterator[tuple[str, attrs.Attribute[Any], Any]]:
    """Yield the dotted key, the field and the value of every setting, in order."""
    for f in attrs.fields(Config):
        section = getattr(config, f.name)
        if isinstance(section, PluginChoice):
            yield f"{f.name}.name", _NAME, section.name
            section = section.options
        elif not attrs.has(type(section)):
            yield f.name, f, section
        for option in attrs.fields(type(section)) if attrs.has(type(section)) else ():
            if option.init:
                yield f"{f.name}.{option.name}", option, getattr(section, option.name)
