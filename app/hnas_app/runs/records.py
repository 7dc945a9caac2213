"""Frozen values to JSON and back, for the artefacts of a run."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, TypeVar

import attrs
import cattrs
from cattrs.gen import make_dict_structure_fn

from hnas.architecture import Architecture, Option
from hnas.errors import DataError

T = TypeVar("T")


def to_json(value: Any) -> Any:
    """Return an attrs value as JSON types; an infinite number stands as text, since JSON has none."""
    return _CONVERTER.unstructure(value)


def from_json(value: Any, kind: type[T], where: str) -> T:
    """Read what `to_json` wrote. Raises `DataError` that names the file ``where`` it stood.

    A ``schema`` other than the one that ``kind`` has now is refused: its fields may mean something else. A field whose
    metadata name what it was ``formerly`` called is read by that name as well.
    """
    known = (
        attrs.fields_dict(kind)["schema"].default if attrs.has(kind) and "schema" in attrs.fields_dict(kind) else None
    )
    if known is not None and isinstance(value, dict) and value.get("schema", known) != known:
        raise DataError(
            f"{where} has schema {value['schema']!r}; this hnas reads {known}",
            hint="use the version of hnas that wrote it, or move the file away and run the command again",
        )
    try:
        return _CONVERTER.structure(value, kind)
    except Exception as cause:
        raise DataError(
            f"{where} is damaged or was edited: {'; '.join(cattrs.transform_error(cause))}",
            hint="move the file away; running the command again makes it anew",
        ) from cause


def _former_names(kind: Any) -> dict[str, str]:
    """Return the fields of a class that had another name before: the former name to today's."""
    fields = attrs.fields(kind) if attrs.has(kind) else ()
    return {f.metadata["formerly"]: f.name for f in fields if "formerly" in f.metadata}


def _structure_renamed(kind: type[T]) -> Callable[[Any, Any], T]:
    former, structure = _former_names(kind), make_dict_structure_fn(kind, _CONVERTER)

    def read(value: Any, _: Any) -> T:
        known: Any = {former.get(k, k): v for k, v in value.items()} if isinstance(value, dict) else value
        return structure(known, kind)

    return read


_CONVERTER = cattrs.Converter()
_CONVERTER.register_structure_hook_factory(lambda kind: bool(_former_names(kind)), _structure_renamed)
_CONVERTER.register_unstructure_hook(float, lambda v: v if math.isfinite(v) else str(v))
_CONVERTER.register_structure_hook(Architecture, lambda v, _: Architecture.from_json(v))
_CONVERTER.register_structure_hook(Option, lambda v, _: v)
