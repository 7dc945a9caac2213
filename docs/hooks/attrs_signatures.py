"""Gives attrs classes in the reference the signature of their constructor (an extension of griffe, by mkdocstrings).

attrs writes ``__init__`` when the class is made, so nothing of it stands in the source that griffe reads.
"""

from __future__ import annotations

import importlib
import inspect
from typing import Any

import attrs
import griffe

LEFT_OUT = "..."
"""In the place of a default that is made anew for each instance."""


class AttrsSignatures(griffe.Extension):
    """Adds ``__init__`` to each class that attrs made, as Python sees it."""

    def on_class_members(self, *, cls: griffe.Class, **_: Any) -> None:
        """Called by griffe for every class when its members are known."""
        decorators = " ".join(str(d.value) for d in cls.decorators)
        if "__init__" in cls.members or not ("frozen" in decorators or "define" in decorators):
            return  # so that no more is imported than the classes in question
        found = getattr(importlib.import_module(cls.module.path), cls.name, None)
        if found is not None and attrs.has(found):
            parameters = [_parameter(p, cls) for p in inspect.signature(found).parameters.values()]
            written = griffe.Function("__init__", parameters=griffe.Parameters(griffe.Parameter("self"), *parameters))
            cls.set_member("__init__", written)


def _parameter(found: inspect.Parameter, cls: griffe.Class) -> griffe.Parameter:
    """Return a parameter with its annotation as it stands in the source."""
    attribute = cls.members.get(found.name)
    return griffe.Parameter(
        found.name,
        annotation=attribute.annotation if isinstance(attribute, griffe.Attribute) else None,
        kind=griffe.ParameterKind[found.kind.name.lower()],
        default=_default(found.default),
    )


def _default(value: Any) -> str | None:
    if value is inspect.Parameter.empty:
        return None
    return LEFT_OUT if value is attrs.NOTHING else repr(value)
