"""The sources of a configuration, each turned into entries of one form: file, environment, command line, arguments."""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import attrs
from attrs import frozen

from hnas.discovery import KINDS
from hnas.errors import ConfigError, close_matches
from hnas.toolkit.files import read_bytes
from hnas_app.config.schema import SECTIONS, Config
from hnas_app.config.toml import parse_toml

Keys = tuple[str, ...]
"""``("seed",)`` or ``("search", "tasks")``."""

PREFIX = "HNAS_"
RESERVED = {"HOME", "DATA", "DEBUG", "STRICT_PLUGINS", "DISABLE_PLUGINS", "NO_PLUGINS"}
"""Variables that are not configuration keys, without the prefix; those that start with ``REQUIRE_`` are not, either."""
FLAG_NAMES = {"constraints": "--constraint", "tasks.root": "--data-root"}
"""Flags that are not spelt like the key they set."""
_KEY = r"""(?:[A-Za-z0-9_-]+|"[^"\n]*"|'[^'\n]*')"""
_DOTTED = rf"{_KEY}(?:\s*\.\s*{_KEY})*"
_HEADER = re.compile(rf"\s*\[\[?\s*({_DOTTED})\s*\]")
_ASSIGNMENT = re.compile(rf"\s*({_DOTTED})\s*=")


@frozen(kw_only=True)
class Entry:
    """One value that a user gave. ``text``: a shell passed it, so its type is yet to be read."""

    keys: Keys
    value: Any
    origin: str
    """As ``config show`` prints it: ``hnas.toml line 6``, ``HNAS_SEED``, ``--seed``."""
    where: str
    """How the message of a mistake begins: ``line 6``, ``HNAS_SEED``, ``--seed``."""
    line: int = 0
    text: bool = False
    recorded: bool = False
    """Whether it stands in the ``config.toml`` of a run, which an earlier version may have written."""


def from_file(path: Path) -> list[Entry]:
    """Read a TOML file. Raises `ConfigError` if it cannot be read or is not TOML."""
    try:
        content = read_bytes(path, 1 << 20)
        text = content.decode("utf-8-sig")  # Windows' editors write a mark at the beginning
    except OSError as cause:
        raise ConfigError(
            f"cannot read the configuration {path}: {cause.strerror}", hint="`hnas config init` writes one"
        ) from cause
    except UnicodeDecodeError as cause:
        utf_16 = content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
        why = "it is UTF-16, as PowerShell writes" if utf_16 else str(cause)
        raise ConfigError(f"the configuration {path} is not UTF-8 text: {why}", hint="save it as UTF-8") from cause
    try:
        tree = parse_toml(text)
    except ValueError as cause:  # a number of too many digits is no `TOMLDecodeError`
        raise ConfigError(f"the configuration {path} is not TOML: {cause}") from cause
    lines, recorded = KeyLines(text), path.name == "config.toml" and path.with_name("run.json").is_file()
    entries = []
    for keys, value in _leaves(tree):
        line = lines.of(*keys)
        origin, where = f"{path} line {line}", f"line {line}"
        entries.append(Entry(keys=keys, value=value, origin=origin, where=where, line=line, recorded=recorded))
    return entries


def from_environment(env: Mapping[str, str]) -> tuple[list[Entry], list[str]]:
    """Read ``HNAS_SEED``, ``HNAS_SEARCH__TASKS`` and the like; return the entries, and names that look misspelt.

    An unknown name that resembles no key is left alone: it may be a plugin's own.
    """
    entries, misspelt = [], []
    sections = {f.name for f in attrs.fields(Config)}
    for name in sorted(env):
        rest = name.removeprefix(PREFIX)
        if rest == name or not env[name] or rest in RESERVED or rest.startswith("REQUIRE_"):
            continue
        keys = tuple(rest.lower().split("__", 1))
        if keys[0] in sections:
            entries.append(Entry(keys=keys, value=env[name], origin=name, where=name, text=True))
        elif guess := close_matches(keys[0], sections):
            spelt = PREFIX + "__".join((guess.split("'")[1], *keys[1:])).upper()
            misspelt.append(f"{name}: unknown key  -> did you mean '{spelt}'?")
    return entries, misspelt


def from_command_line(sets: Iterable[tuple[str, str]], flags: Mapping[str, Any]) -> list[Entry]:
    """Read the flags that were given (``None`` and empty lists are not), then ``--set KEY=VALUE``."""
    entries = []
    for name, value in flags.items():
        if value is not None and value != [] and value != ():
            flag = FLAG_NAMES.get(name, f"--{name}")
            entries.append(Entry(keys=_split(name), value=value, origin=flag, where=flag))
    for name, value in sets:
        where = f"--set {name}={value}"
        entries.append(Entry(keys=_split(name), value=value, origin=where, where=where, text=True))
    return entries


def from_arguments(*given: Mapping[str, Any]) -> list[Entry]:
    """Read the arguments of a Python program: dotted keys, and values of their own type; a table is a mapping.

    Raises `ConfigError` for a key with two values: none of them is the later one, as on a command line.
    """
    found: dict[Keys, Entry] = {}
    for name, value in [pair for arguments in given for pair in arguments.items()]:
        inner = value if isinstance(value, Mapping) and (name in SECTIONS or name in KINDS) else None
        for key, leaf in [(name, value)] if inner is None else [(f"{name}.{k}", v) for k, v in inner.items()]:
            entry = Entry(keys=_split(key), value=leaf, origin=f"argument {key}", where=key)
            known = found.setdefault(entry.keys, entry).value
            if type(known) is not type(leaf) or known != leaf:
                raise ConfigError(
                    f"{'.'.join(entry.keys)} is given twice, as {known!r} and as {leaf!r}", hint="give it once"
                )
    return list(found.values())


def _leaves(tree: Mapping[str, Any]) -> Iterator[tuple[Keys, Any]]:
    for key, value in tree.items():
        if (key in SECTIONS or key in KINDS) and isinstance(value, dict):
            for inner, leaf in value.items():
                yield (key, inner), leaf
        else:
            yield (key,), value


def _split(name: str) -> Keys:
    keys = tuple(name.split(".", 1))
    return (keys[0], "name") if keys[0] in KINDS and len(keys) == 1 else keys


class KeyLines:
    """Line numbers, from 1, of the keys in a TOML text: tomllib keeps no positions.

    The scan takes anything that looks like a key, even inside a multi-line string. So callers ask only for keys that
    tomllib found.
    """

    def __init__(self, text: str) -> None:
        self._lines: dict[tuple[str, ...], int] = {}
        table: tuple[str, ...] = ()
        for number, line in enumerate(text.splitlines(), start=1):
            if header := _HEADER.match(line):
                table = _parts(header[1])
                self._lines.setdefault(table, number)
            elif assignment := _ASSIGNMENT.match(line):
                self._lines.setdefault(table + _parts(assignment[1]), number)

    def of(self, *keys: str) -> int:
        """Return the line of a key, or of the nearest table around it."""
        for length in range(len(keys), 0, -1):
            if keys[:length] in self._lines:
                return self._lines[keys[:length]]
        # The table may only be named as part of a longer, dotted key.
        return min((n for k, n in self._lines.items() if k[: len(keys)] == keys), default=1)


def _parts(dotted: str) -> tuple[str, ...]:
    return tuple(part.strip("\"'") for part in re.findall(_KEY, dotted))
