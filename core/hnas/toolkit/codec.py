"""Convert values to JSON and back: the one place that defines how each is stored in a file.

An infinite number is stored as text, since JSON has none. Floats are written so that they read back to the last bit.
"""

from __future__ import annotations

import math
import types
from collections.abc import Callable, Mapping, Set
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar, Union, get_args, get_origin

import attrs

from hnas.architecture import Architecture
from hnas.cost import CostTable, DeviceInfo, Measurement, Metric, Rounds, check_costs
from hnas.errors import DataError, HnasError, short
from hnas.layer import Layer
from hnas.toolkit.files import check_seal, read_json, sealed, write_json
from hnas.toolkit.pictures import Preparation

if TYPE_CHECKING:
    from cattrs import Converter

T = TypeVar("T")
AGAIN = "move the file away and run the command again: it is made anew"
_NO_NUMBERS = ("inf", "-inf", "nan")


def to_json(value: Any) -> Any:
    """Return an attrs value, or a collection of such, as JSON types."""
    return converter().unstructure(value)


def from_json(value: Any, kind: type[T], where: str, *, hint: str = AGAIN) -> T:
    """Read what `to_json` wrote. Raises `DataError` that names its file, ``where``.

    A ``schema`` other than the current one of ``kind`` is refused: its fields may mean something else. Metadata of that
    field can name one that is read as well, ``unsealed``: the last whose files had no checksum. A field whose metadata
    hold its former name, ``formerly``, is read by that name as well.
    """
    known, unsealed = _schemas(kind)
    if unsealed is not None and isinstance(value, Mapping) and value.get("schema") == unsealed:
        value = {**value, "schema": known}
    if known is not None and isinstance(value, Mapping) and value.get("schema", known) != known:
        raise DataError(
            f"{where} has schema {short(value['schema'])}; this hnas reads {known}",
            hint=f"use the version of hnas that wrote it, or {hint}",
        )
    try:
        return converter().structure(value, kind)
    except Exception as cause:
        raise DataError(f"{where} is damaged or was edited: {mistakes(cause)}", hint=hint) from cause


def save(path: Path, value: Any) -> None:
    """Replace the file ``path`` by a value, as `write_json` does; `sealed` if an earlier schema was ``unsealed``."""
    content = to_json(value)
    write_json(path, content if _schemas(type(value))[1] is None else sealed(content))


def load(path: Path, kind: type[T], *, hint: str = AGAIN) -> T:
    """Read a file that `save` wrote. Raises `DataError` if it is missing, damaged or of another schema."""
    value, (known, unsealed) = read_json(path), _schemas(kind)
    current = isinstance(value, Mapping) and value.get("schema", known) == known
    check_seal(value, str(path), needed=current and unsealed is not None, hint=hint)
    return from_json(value, kind, str(path), hint=hint)


def _schemas(kind: Any) -> tuple[Any, Any]:
    """Return the current schema of a class, and the last without checksums; ``None`` if there is none."""
    field = attrs.fields_dict(kind).get("schema") if attrs.has(kind) else None
    return (field.default, field.metadata.get("unsealed")) if field else (None, None)


@cache
def converter() -> Converter:
    """Make the converter at the first use: cattrs takes longer to import than all of hnas's interfaces."""
    import cattrs
    from cattrs.gen import make_dict_structure_fn, make_dict_unstructure_fn, override

    made = cattrs.Converter(unstruct_collection_overrides={Set: sorted, tuple: list})
    made.register_structure_hook_factory(lambda kind: bool(_former_names(kind)), partial(_by_former_names, made))
    made.register_unstructure_hook(float, lambda v: v if math.isfinite(v) else str(float(v)))
    made.register_structure_hook(float, _number)
    made.register_structure_hook(int, _whole)
    for plain in (bool, str):
        made.register_structure_hook(plain, _exactly)
    made.register_structure_hook_func(_is_plain, _any_of)
    made.register_structure_hook(Architecture, _architecture)
    for strict in (Metric, Rounds):
        made.register_structure_hook(strict, make_dict_structure_fn(strict, made, _cattrs_forbid_extra_keys=True))
    plain_preparation = make_dict_structure_fn(Preparation, made, _cattrs_forbid_extra_keys=True)
    made.register_structure_hook(Preparation, lambda value, _: _preparation(value, plain_preparation))
    unset = override(omit_if_default=True)
    made.register_unstructure_hook(Measurement, make_dict_unstructure_fn(Measurement, made, samples=unset))
    plain_layer = make_dict_unstructure_fn(Layer, made, dilation=unset, counts=unset, reads=unset)
    made.register_unstructure_hook(Layer, plain_layer)
    for kind, needed in ((Measurement, ("mad", "n", "unit")), (DeviceInfo, ("settings", "ops"))):
        made.register_structure_hook(kind, _needing(needed, make_dict_structure_fn(kind, made)))
    plain_info = make_dict_unstructure_fn(DeviceInfo, made, free=unset)
    made.register_unstructure_hook(DeviceInfo, lambda info: _with_fingerprint(plain_info(info), info.fingerprint))
    plain_table = make_dict_structure_fn(CostTable, made)
    made.register_structure_hook(CostTable, lambda value, _: _checked(plain_table(value, CostTable)))
    return made


def _former_names(kind: Any) -> dict[str, str]:
    """Return the renamed fields of a class: the former name to the current one."""
    fields = attrs.fields(kind) if attrs.has(kind) else ()
    return {f.metadata["formerly"]: f.name for f in fields if "formerly" in f.metadata}


def _by_former_names(converter: Converter, kind: type[T]) -> Callable[[Any, Any], T]:
    from cattrs.gen import make_dict_structure_fn

    former, structure = _former_names(kind), make_dict_structure_fn(kind, converter)

    def read(value: Any, _: Any) -> T:
        return structure({former.get(k, k): v for k, v in value.items()}, kind)

    return read


def _number(value: Any, _: Any) -> float:
    if type(value) in (int, float) or value in _NO_NUMBERS:
        return float(value)
    raise _wrong("a number", value)


def _whole(value: Any, _: Any) -> int:
    if type(value) is int or (type(value) is float and value.is_integer()):
        return int(value)
    if isinstance(value, str) and value.isascii() and value.isdecimal():  # as the keys of an object are
        return int(value)
    raise _wrong("a whole number", value)


def _exactly(value: Any, kind: type) -> Any:
    if type(value) is not kind:
        raise _wrong("text" if kind is str else "true or false", value)
    return value


def _is_plain(kind: Any) -> bool:
    origin = get_origin(kind)
    return origin is Literal or (origin in (Union, types.UnionType) and set(get_args(kind)) <= {bool, int, float, str})


def _any_of(value: Any, kind: Any) -> Any:
    options = get_args(kind) if get_origin(kind) is Literal else ()
    if value not in options if options else not isinstance(value, get_args(kind)):
        raise _wrong(f"one of {', '.join(map(repr, options))}" if options else "text or a number", value)
    return value


def _architecture(value: Any, _: Any) -> Architecture:
    match value:
        case {"space": str(space), "genes": list(genes) | tuple(genes)} if all(type(g) is int for g in genes):
            return Architecture(space, tuple(genes))
    raise ValueError(
        f"not an architecture: {short(value)}; expected an object with 'space' (a name) and 'genes' (whole numbers)"
    )


def _preparation(value: Any, read: Callable[[Any, Any], Preparation]) -> Preparation:
    try:
        return read(value, Preparation)
    except Exception as cause:
        raise ValueError(f"not how hnas prepares pictures: {mistakes(cause)}") from cause


def _needing(names: tuple[str, ...], read: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
    """Require fields that have a default in Python but were always stored in files."""

    def structure(value: Any, kind: Any) -> Any:
        for name in names:
            value[name]
        return read(value, kind)

    return structure


def _with_fingerprint(info: dict[str, Any], fingerprint: str) -> dict[str, Any]:
    """Add the fingerprint for readers; it follows from the rest."""
    first = {key: info.pop(key) for key in ("backend", "device", "runtime", "settings")}
    return {**first, "fingerprint": fingerprint, **info}


def _checked(table: CostTable) -> CostTable:
    for key, costs in table.rows.items():
        check_costs(table.info, key, costs)
    return table


def _wrong(expected: str, value: Any) -> ValueError:
    return ValueError(f"expected {expected}, got {short(value)}")


def mistakes(cause: BaseException) -> str:
    from cattrs import transform_error

    return "; ".join(transform_error(cause, format_exception=_explained))


def _explained(cause: BaseException, kind: type | None) -> str:
    from cattrs.v import format_exception

    if isinstance(cause, ValueError | HnasError) and cause.args:
        return str(cause.args[0])  # a validator of attrs adds the field and the value
    return format_exception(cause, kind)
