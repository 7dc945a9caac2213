"""The options that an object was made with, which a Python program gave as a plugin: what a run records of it."""

from __future__ import annotations

import typing
from collections.abc import Callable
from typing import Any

import attrs

from hnas.discovery.descriptors import NoOptions

_WHERE = ("options", "settings", "_options", "_settings")
"""Attributes in which an object may keep the options that it was made with."""


def object_options(instance: Any) -> type:
    """Return an attrs class of an object's options, each of which accepts the object's value only.

    They are those of the attrs instance that it keeps in an attribute ``options`` or ``settings`` (perhaps with an
    underscore). A run records them and cannot be resumed with an object that was made differently.
    """
    kept = (getattr(instance, name, None) for name in _WHERE)
    if (found := next((o for o in kept if attrs.has(type(o))), None)) is None:
        return NoOptions
    types = typing.get_type_hints(type(found))
    fields: dict[str, Any] = {}
    for f in attrs.fields(type(found)):
        value = getattr(found, f.name)
        if f.init:
            fields[f.name] = attrs.field(
                default=value, type=types.get(f.name, Any), validator=_only(value), metadata=dict(f.metadata)
            )
    return attrs.make_class("Options", fields, frozen=True, kw_only=True)


def _only(made_with: Any) -> Callable[[object, object, Any], None]:
    def check(instance: object, attribute: object, value: Any) -> None:
        if value != made_with:
            raise ValueError(f"the object was made with {made_with!r}, got {value!r}")

    return check
