"""What a backend says of its device and of its table, checked at the door: errors name the backend and the field."""

from __future__ import annotations

import json
from collections.abc import Mapping
from math import inf
from pathlib import Path
from typing import Any

import attrs

from hnas.cost import MACS, PARAMS, DeviceInfo, Metric, Rounds
from hnas.errors import DataError, PluginError, short
from hnas.toolkit.operations import OPERATIONS

_ROUNDS = {
    "count": (1, 10**6),
    "anchor_every": (0, 10**9),
    "anchor_tolerance": (0.0, 10**9),
    "attempts": (1, 10**6),
    "cooling_s": (0.0, 10**6),
    "layer_s": (0.0, 10**9),
}
"""The least and the most of each number of `Rounds`; a least that is an int wants a whole number."""


def checked(info: DeviceInfo, backend: str) -> DeviceInfo:
    """Return a description with numbers of numpy as Python's. Raises `PluginError` for a field that cannot be."""
    for name in ("backend", "device", "runtime"):
        if not isinstance(value := getattr(info, name), str) or not value:
            raise _wrong(backend, name, value, "text")
    metrics = tuple(info.metrics) if isinstance(info.metrics, list | tuple) else ()
    names = [m.name if isinstance(m, Metric) and isinstance(m.name, str) else None for m in metrics]
    if not names or None in names or len({*names, PARAMS.name, MACS.name}) < len(names) + 2:
        raise _wrong(
            backend, "metrics", info.metrics, "what a limit needs: hnas.Metric objects with names of their own"
        )
    for name in ("ops", "free"):
        found = getattr(info, name)
        if not (found is None or (isinstance(found, frozenset | set) and all(isinstance(o, str) for o in found))):
            raise _wrong(backend, name, found, "a frozenset of names, or None")
    if both := (OPERATIONS.keys() if info.ops is None else info.ops) & (info.free or set()):
        raise _wrong(backend, "free", info.free, f"no operation that `ops` names as well: {', '.join(sorted(both))}")
    return attrs.evolve(
        info,
        metrics=metrics,
        settings=as_json(info.settings, f"describe() of the backend {backend} gave settings"),
        conditions=as_json(info.conditions, f"describe() of the backend {backend} gave conditions"),
        rounds=None if info.rounds is None else _rounds(info.rounds, backend),
    )


def as_json(value: Any, where: str) -> dict[str, Any]:
    """Return a mapping with numbers of numpy as Python's. Raises `PluginError` unless it is finite and JSON then."""
    if not isinstance(value, Mapping):
        raise PluginError(f"{where} = {short(value)}; expected a mapping")
    found = {}
    for key, held in value.items():
        try:
            found[key] = _plain(held)
            json.dumps({key: found[key]}, allow_nan=False, sort_keys=True)
        except (TypeError, ValueError, RecursionError) as cause:
            raise PluginError(
                f"{where}[{key!r}] = {short(held)}; expected what JSON can hold: {type(cause).__name__}: {cause}"
            ) from cause
    return found


def check_calibration(found: Any, file: Path) -> None:
    """Raise `DataError` unless the calibration of a table file has two finite numbers for each scope and metric."""
    scopes = found.values() if isinstance(found, Mapping) else [None]
    lines = [line for held in scopes for line in (held.values() if isinstance(held, Mapping) else [held])]
    for line in lines:
        numbers: list[Any] = line if isinstance(line, list) and len(line) == 2 else [None]
        if not all(type(n) in (int, float) and abs(n) < inf for n in numbers):
            raise DataError(
                f"{file} is damaged or was edited: its calibration has {short(line)}; expected two finite numbers",
                hint="make it again with `hnas profile export`",
            )


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {k: _plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(map(_plain, value)) if type(value) in (list, tuple) else value
    return value.item() if hasattr(value, "item") else value


def _rounds(rounds: Any, backend: str) -> Rounds:
    if not isinstance(rounds, Rounds):
        raise _wrong(backend, "rounds", rounds, "hnas.Rounds or None")
    numbers = {name: _plain(getattr(rounds, name)) for name in _ROUNDS}
    for name, value in numbers.items():
        least, most = _ROUNDS[name]
        kind = int if isinstance(least, int) else int | float
        if isinstance(value, bool) or not isinstance(value, kind) or not least <= value <= most:
            whole = "a whole number" if kind is int else "a number"
            raise _wrong(backend, f"rounds.{name}", value, f"{whole} from {least:g} to {most:g}")
    return Rounds(**numbers)


def _wrong(backend: str, field: str, value: object, expected: str) -> PluginError:
    return PluginError(f"describe() of the backend {backend} gave {field} = {short(value)}; expected {expected}")
