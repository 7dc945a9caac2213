"""Plugins given as objects, from Python: a user's own, or one that was made with options of the user's."""

from __future__ import annotations

import typing
from collections.abc import Callable
from typing import Any

import attrs

from hnas.discovery.descriptors import Kind, Plugin, Registered, interface
from hnas.errors import PluginError

OBJECT = "object"
"""Stands before the colon of an object's name, and where a plugin's distribution would."""

_WHERE = ("options", "settings", "_options", "_settings")
"""Attributes in which an object may keep the options that it was made with."""


def is_object(name: str) -> bool:
    """Tell whether a plugin's name is that of an object."""
    return name.startswith(f"{OBJECT}:")


def object_name(instance: Any) -> str:
    """Return the name under which an object is registered, and recorded in a run: ``object:`` and its class."""
    return f"{OBJECT}:{type(instance).__qualname__}"


def object_plugin(kind: Kind, instance: Any) -> Registered:
    """Describe an object as a plugin; its factory returns the object itself.

    Where the object keeps the attrs instance that it was made with in an attribute ``options`` or ``settings`` (perhaps
    with an underscore), those are the plugin's options, each with the object's value as the only valid one: a run
    records them, and is not gone on with by an object that was made differently. Raises `PluginError` for an object of
    another kind.
    """
    expected, cls = interface(kind), type(instance)
    if not isinstance(instance, expected):
        raise PluginError(f"{kind}={instance!r}: expected a name or a hnas.{expected.__name__}")
    return Registered(
        kind=kind,
        plugin=Plugin(
            name=object_name(instance),
            summary=(cls.__doc__ or "").partition("\n")[0],
            factory=lambda options: instance,
            options=_options(instance),
        ),
        distribution=OBJECT,
        version="",
    )


def _options(instance: Any) -> type:
    """Return an attrs class of the object's options, whose fields admit nothing but the object's values."""
    kept = (getattr(instance, name, None) for name in _WHERE)
    found = next((o for o in kept if attrs.has(type(o))), None)
    if found is None:
        return attrs.make_class("Options", {}, frozen=True)
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
