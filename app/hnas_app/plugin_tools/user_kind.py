"""The kind of a plugin in user code, by its class."""

from __future__ import annotations

import inspect

from hnas.discovery.descriptors import KINDS, Kind, interface
from hnas.discovery.user_code import named
from hnas.errors import PluginError, close_matches

TRACKER: Kind = "tracker"


def user_kind(reference: str) -> Kind:
    """Return the plugin kind of the class that ``reference`` names. Raises `PluginError`."""
    module, name, _ = named(reference)
    cls = getattr(module, name, None)
    for kind in (*KINDS, TRACKER):
        if inspect.isclass(cls) and issubclass(cls, interface(kind)):
            return kind
    known = ", ".join(f"hnas.{interface(kind).__name__}" for kind in (*KINDS, TRACKER))
    classes = [n for n, c in vars(module).items() if inspect.isclass(c)]
    seen = "there is no such class" if cls is None else f"{name} is a subclass of none of {known}"
    raise PluginError(f"{reference!r}: {seen}.{close_matches(name, classes)}")
