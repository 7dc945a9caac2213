"""Read one value of a configuration: strictly by its type, then by its field's validators."""

from __future__ import annotations

import re
import types
import typing
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal, Union

import attrs
import cattrs

from hnas.errors import HnasError, close_matches, short
from hnas.settings import MOST, at_most
from hnas_app.config.toml import parse_toml

_NO_TEXT = re.compile("[\ud800-\udfff]")
"""Bytes of a file name that are not UTF-8."""


def read(value: Any, expected: Any) -> Any:
    """Return ``value`` as the type ``expected``. Only int to float, list to tuple, str to path are converted.

    Raises `ValueError` with a sentence: ``expected int, got str '100'``.
    """
    texts = value if isinstance(value, list | tuple) else [value]
    if any(isinstance(text, str) and _NO_TEXT.search(text) for text in texts):
        raise ValueError(f"expected text, which a run's config.toml can hold, got {value!r}: rename the file or folder")
    if any("\0" in str(text) for text in texts if isinstance(text, str | Path)):
        raise ValueError(f"expected text without NUL characters, got {short(value)}")
    try:
        return _converter.structure(value, expected)
    except Exception as cause:
        if typing.get_origin(expected) is Literal and isinstance(value, str):
            options = [o for o in typing.get_args(expected) if isinstance(o, str)]
            message = f"expected {describe(expected)}, got {value!r}{_arrow(value, options)}"
        else:
            message = f"expected {describe(expected)}, got {_shown(value)}"
        raise ValueError(message) from cause


def read_text(text: str, expected: Any) -> Any:
    """Return the type ``expected`` from text that a shell passed: a TOML value, else the text itself.

    A list of texts may be given as ``a,b``, and a boolean as Python writes it. Raises `ValueError` as `read` does.
    """
    value = parse_text(text)
    readings = [value, text]
    if isinstance(value, str):
        readings.append([part.strip() for part in text.split(",")])
        readings += [text == "True"] if text in ("True", "False") else []
    for reading in readings:
        with suppress(ValueError):
            return read(reading, expected)
    return read(value, expected)


def parse_text(text: str) -> Any:
    """Return ``text`` as a TOML value, or unchanged if it is none."""
    try:
        parsed = parse_toml(f"value = {text}")
    except ValueError:  # too many digits or brackets are no `TOMLDecodeError`
        return text
    return parsed["value"] if list(parsed) == ["value"] else text


def validate(field: attrs.Attribute[Any], value: Any) -> None:
    """Run a field's validators. Raises `ValueError` with a sentence: ``must be > 0, got -1``."""
    try:
        if "most" not in field.metadata:  # a field that `hnas.settings.setting` did not make
            at_most(MOST)(None, field, value)
        if not field.validator:  # attrs keeps an empty list of validators as it is
            return
        # Built-in validators do not look at the instance; one that does is run when the options are made.
        field.validator(None, field, value)
    except (ValueError, TypeError, HnasError) as cause:
        raise ValueError(sentence(cause, field.name, value)) from cause
    except AttributeError:
        return


def sentence(cause: BaseException, name: str, value: Any) -> str:
    """Make attrs' message about a field readable: ``'epochs' must be > 0: -1`` is ``must be > 0, got -1``."""
    message = str(cause.args[0]) if cause.args else type(cause).__name__
    if allowed := re.fullmatch(rf"'{re.escape(name)}' must be in (\(.*\)|\[.*\]) \(got .*\)", message, re.DOTALL):
        options = re.findall(r"'([^']*)'", allowed[1])
        listed = allowed[1].strip("()[]").rstrip(",")
        return f"expected one of {listed}, got {value!r}{_arrow(value, options)}"
    if bound := re.fullmatch(rf"'{re.escape(name)}' (must .*?): .*", message, re.DOTALL):
        return f"{bound[1]}, got {value!r}"
    return message


def describe(expected: Any) -> str:
    """Name a type in the words of TOML: ``int``, ``list of str``, ``one of 'query', 'support'``."""
    origin, args = typing.get_origin(expected), typing.get_args(expected)
    if origin is Literal:
        return "one of " + ", ".join(map(repr, args))
    if origin in (Union, types.UnionType):
        return " or ".join(describe(a) for a in args if a is not type(None))
    if origin in (tuple, list):
        inner = list(dict.fromkeys(describe(a) for a in args if a is not Ellipsis))
        count = f"list of {len(args)} " if origin is tuple and Ellipsis not in args else "list of "
        return count + " and ".join(inner)
    if isinstance(expected, type) and issubclass(expected, Path):
        return "path"
    return expected.__name__ if isinstance(expected, type) else str(expected)


def _shown(value: Any) -> str:
    names: dict[type, str] = {dict: "table", tuple: "list"}
    return f"{names.get(type(value), type(value).__name__)} {short(value)}"


def _arrow(word: Any, known: list[str]) -> str:
    guess = close_matches(str(word), known).strip()
    return f"  -> {guess[0].lower()}{guess[1:]}" if guess else ""


def _exactly(value: Any, wanted: type) -> Any:
    if type(value) is not wanted:  # bool is a subclass of int, and 100 is no text: only the type itself will do
        raise TypeError
    return value


def _float(value: Any, _: Any) -> float:
    if type(value) not in (int, float):
        raise TypeError
    return float(value)


def _literal(value: Any, expected: Any) -> Any:
    for option in typing.get_args(expected):
        if option == value and type(option) is type(value):
            return option
    raise TypeError


def _sequence(value: Any, expected: Any) -> Any:
    if not isinstance(value, list | tuple):
        raise TypeError
    origin, args = typing.get_origin(expected), typing.get_args(expected)
    inner = args if origin is tuple and Ellipsis not in args else args[:1] * len(value)
    return origin(_converter.structure(v, t) for v, t in zip(value, inner, strict=True))


def _union(value: Any, expected: Any) -> Any:
    members = typing.get_args(expected)
    # An exact match first: 1 is an int in `float | int`.
    for member in sorted(members, key=lambda m: m is not type(value)):
        with suppress(Exception):
            return value if member is type(None) and value is None else _converter.structure(value, member)
    raise TypeError


def _path(value: Any, _: Any) -> Path:
    if not isinstance(value, str | Path):
        raise TypeError
    return Path(value)


def _origin_in(*origins: Any) -> Any:
    return lambda expected: typing.get_origin(expected) in origins


_converter = cattrs.Converter(forbid_extra_keys=True, detailed_validation=False)
for _type in (int, bool, str):
    _converter.register_structure_hook(_type, _exactly)
_converter.register_structure_hook(float, _float)
_converter.register_structure_hook(Path, _path)
_converter.register_structure_hook_func(_origin_in(Literal), _literal)
_converter.register_structure_hook_func(_origin_in(tuple, list), _sequence)
_converter.register_structure_hook_func(_origin_in(Union, types.UnionType), _union)
