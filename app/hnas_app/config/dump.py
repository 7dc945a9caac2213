"""Write a resolved configuration as TOML that `load_config` reads back, and flatten it to dotted keys."""

from __future__ import annotations

import json
from collections.abc import Mapping
from enum import Enum
from pathlib import PurePath
from typing import Any

import attrs

from hnas.errors import ConfigError
from hnas_app.config.schema import Config, PluginChoice


def flatten(config: Config) -> dict[str, Any]:
    """Return every value by its dotted key: ``{"seed": 0, "space.name": "vgg9", "space.base_width": 16, …}``."""
    flat: dict[str, Any] = {}
    for f in attrs.fields(Config):
        value = getattr(config, f.name)
        if isinstance(value, PluginChoice):
            flat[f"{f.name}.name"] = value.name
            flat.update(_fields(f.name, value.options) if value.options is not None else {})
        elif attrs.has(type(value)):
            flat.update(_fields(f.name, value))
        else:
            flat[f.name] = value
    return flat


def dump_toml(config: Config, comments: Mapping[str, str] | None = None) -> str:
    """Return ``config`` as TOML. ``comments`` maps dotted keys to what stands behind a value.

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
        comment = f"  # {comments[key]}" if comments and comments.get(key) else ""
        lines.append(f"{name} = {toml_value(value, key)}{comment}")
    return "\n".join(top + tables) + "\n"


def toml_value(value: Any, key: str = "value") -> str:
    """Return one value as TOML. Raises `ConfigError` for what TOML cannot hold."""
    match value:
        case bool():
            return "true" if value else "false"
        case Enum():
            return toml_value(value.value, key)
        case int() | float():
            return repr(value)
        case str() | PurePath():
            # A JSON string is a TOML string, but for the one control character that JSON leaves alone.
            return json.dumps(str(value), ensure_ascii=False).replace("\x7f", "\\u007f")
        case list() | tuple():
            return "[" + ", ".join(toml_value(v, key) for v in value) + "]"
        case dict():
            return "{" + ", ".join(f"{toml_value(str(k))} = {toml_value(v, key)}" for k, v in value.items()) + "}"
    raise ConfigError(f"{key}: a {type(value).__name__} cannot be written to a configuration file: {value!r}")


def help_texts(config: Config) -> dict[str, str]:
    """Return the help of every value by its dotted key."""
    helps = {}
    for f in attrs.fields(Config):
        value = getattr(config, f.name)
        inner = value.options if isinstance(value, PluginChoice) else value
        if attrs.has(type(inner)):
            helps.update({f"{f.name}.{o.name}": o.metadata.get("help", "") for o in attrs.fields(type(inner))})
        else:
            helps[f.name] = f.metadata.get("help", "")
    return helps


def at_default(config: Config) -> set[str]:
    """Return the dotted keys whose value is their option's default, for the options that have one."""
    found = set()
    for f in attrs.fields(Config):
        value = getattr(config, f.name)
        inner = value.options if isinstance(value, PluginChoice) else value
        for o in attrs.fields(type(inner)) if attrs.has(type(inner)) else ():
            made = attrs.NOTHING
            if isinstance(o.default, attrs.Factory):  # type: ignore[arg-type]
                made = attrs.NOTHING if o.default.takes_self else o.default.factory()
            elif o.default is not attrs.NOTHING:
                made = o.default
            if o.init and getattr(inner, o.name) == made:
                found.add(f"{f.name}.{o.name}")
    return found


def _fields(head: str, options: Any) -> dict[str, Any]:
    return {f"{head}.{f.name}": getattr(options, f.name) for f in attrs.fields(type(options)) if f.init}
