"""A user's own implementations: classes named by ``./file.py:Class`` or ``package.module:Class``, and objects."""

from __future__ import annotations

import importlib
import inspect
import os
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import attrs

from hnas.discovery.descriptors import Kind, NoOptions, Plugin, Registered, interface
from hnas.discovery.loading import FAULTS
from hnas.errors import PluginError, close_matches

USER_CODE = "user code"
"""The distribution of a plugin in user code."""


def user_plugin(kind: Kind, reference: str) -> Plugin:
    """Describe the class that ``reference`` names as a plugin.

    The class implements the kind's interface. If it declares ``Options``, an attrs class, it is constructed with an
    instance of it, else without arguments. A relative path starts from the working folder, and the plugin's name holds
    the absolute path. Raises `PluginError`.
    """
    module, name, full_name = named(reference)
    cls = getattr(module, name, None)
    expected = interface(kind)
    if not (inspect.isclass(cls) and issubclass(cls, expected)):
        classes = {n: c for n, c in vars(module).items() if inspect.isclass(c) and c is not expected}
        known = [n for n, c in classes.items() if issubclass(c, expected)]
        seen = "there is no such class" if cls is None else f"{name} is not a subclass of hnas.{expected.__name__}"
        listed = f" It has: {', '.join(known)}." if known else ""
        raise PluginError(f"{kind} {reference!r}: {seen}.{close_matches(name, known)}{listed}")
    if missing := sorted(getattr(cls, "__abstractmethods__", ())):
        raise PluginError(f"{kind} {reference!r}: {name} does not implement {', '.join(missing)}")
    options = getattr(cls, "Options", NoOptions)
    if not attrs.has(options):
        raise PluginError(f"{kind} {reference!r}: {name}.Options is {options!r}, expected an attrs class")
    factory: Any = (lambda _: cls()) if options is NoOptions else cls
    summary = (inspect.getdoc(cls) or "").partition("\n")[0]
    return Plugin(name=full_name, summary=summary, factory=factory, options=options)


def named(reference: str) -> tuple[ModuleType, str, str]:
    """Import the part before the colon; return the module, the class's name, and a reference valid in any folder."""
    where, _, name = reference.rpartition(":")
    if where.endswith(".py"):
        path = Path(os.path.realpath(os.path.expanduser(where)))
        return _from_file(path, reference), name, f"{path}:{name}"
    return _import(where, Path.cwd(), reference), name, reference


def _from_file(path: Path, reference: str) -> ModuleType:
    """Import a file by its own name, its folder last on the path: worker processes inherit both."""
    if not path.is_file():
        raise PluginError(f"{reference!r}: there is no file {path}")
    module = _import(path.stem, path.parent, reference)
    if os.path.realpath(str(module.__file__)) != str(path):
        raise PluginError(
            f"{reference!r}: a module {path.stem!r} is already there, {module.__file__}", hint="rename your file"
        )
    return module


def _import(name: str, folder: Path, reference: str) -> ModuleType:
    # Last, so that nothing installed is shadowed.
    if str(folder) not in sys.path:
        sys.path.append(str(folder))
    try:
        return importlib.import_module(name)
    except FAULTS as cause:
        raise PluginError(
            f"{reference!r}: cannot import {name!r}: {type(cause).__name__}: {cause}",
            hint="give package.module:Class, importable from the working folder, or ./file.py:Class",
        ) from cause


OBJECT = "object"
"""The part of an object's name before the colon, and its distribution."""


def is_object(name: str) -> bool:
    """Return whether a plugin's name is that of an object."""
    return name.startswith(f"{OBJECT}:")


def object_name(instance: Any) -> str:
    """Return the name under which an object is registered, and recorded in a run: ``object:`` and its class."""
    return f"{OBJECT}:{type(instance).__qualname__}"


def object_plugin(kind: Kind, instance: Any, options: type = NoOptions) -> Registered:
    """Describe an object as a plugin; its factory returns the object itself, whatever the ``options``.

    Raises `PluginError` for an object of another kind.
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
            options=options,
        ),
        distribution=OBJECT,
        version="",
    )
