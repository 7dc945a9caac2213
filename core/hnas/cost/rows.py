"""Rows of a cost table: checked, and as JSON with the device that they were measured on."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from attrs import asdict

from hnas.cost.values import DeviceInfo, LayerCosts, Measurement, Metric, Rounds
from hnas.errors import DeviceError, PluginError


def check_costs(info: DeviceInfo, layer_key: str, costs: LayerCosts) -> None:
    """Raise `DeviceError` unless ``costs`` holds every metric of the device as a finite number that is not negative."""
    if not isinstance(costs, Mapping):
        wanted = ", ".join(f"{m.name!r}: hnas.Measurement(…)" for m in info.metrics)
        raise DeviceError(f"{info.backend} gave {_short(costs)} for {layer_key}; expected a mapping, {{{wanted}}}")
    for metric in info.metrics:
        found = costs.get(metric.name)
        if found is None:
            raise DeviceError(f"{info.backend} gave no {metric.name!r} for {layer_key}; it gave {sorted(costs)}")
        if not isinstance(found, Measurement):
            raise DeviceError(
                f"{info.backend} gave {metric.name} = {_short(found)} for {layer_key}; expected a hnas.Measurement",
                hint=f"write hnas.Measurement(median=…, unit={metric.unit!r})",
            )
        if not (math.isfinite(found.median) and found.median >= 0) or found.unit != metric.unit:
            raise DeviceError(
                f"{info.backend} gave {metric.name} = {found.median!r} {found.unit!r} for {layer_key}; expected a "
                f"finite number, not negative, in {metric.unit!r}"
            )


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:80]}…"


def info_to_json(info: DeviceInfo) -> dict[str, Any]:
    """Return what is known of a device as a JSON object; the fingerprint follows from the rest and is for readers."""
    return {
        "backend": info.backend,
        "device": info.device,
        "runtime": info.runtime,
        "settings": dict(info.settings),
        "fingerprint": info.fingerprint,
        "metrics": [asdict(m) for m in info.metrics],
        "ops": None if info.ops is None else sorted(info.ops),
        "rounds": None if info.rounds is None else asdict(info.rounds),
        "conditions": dict(info.conditions),
    }


def info_from_json(data: Mapping[str, Any]) -> DeviceInfo:
    """Read what `info_to_json` wrote. Raises `ValueError`, `KeyError` or `TypeError` on anything else."""
    try:
        metrics = tuple(Metric(**m) for m in data["metrics"])
    except PluginError as cause:  # of a file it is not a plugin's mistake
        raise ValueError(str(cause)) from cause
    return DeviceInfo(
        backend=data["backend"],
        device=data["device"],
        runtime=data["runtime"],
        settings=dict(data["settings"]),
        metrics=metrics,
        ops=None if data["ops"] is None else frozenset(data["ops"]),
        rounds=Rounds(**data["rounds"]) if data.get("rounds") else None,
        conditions=dict(data.get("conditions", {})),
    )


def measurement_to_json(measured: Measurement) -> dict[str, Any]:
    """Return a measurement as a JSON object, without raw samples where there are none."""
    return asdict(measured, filter=lambda attribute, value: attribute.name != "samples" or bool(value))


def measurement_from_json(data: Mapping[str, Any]) -> Measurement:
    """Read what `measurement_to_json` wrote. Raises `ValueError`, `KeyError` or `TypeError` on anything else."""
    unit = data["unit"]
    if not isinstance(unit, str):
        raise TypeError(f"unit {unit!r} is not text")
    samples = tuple(map(float, data.get("samples", ())))
    median, mad, n = float(data["median"]), float(data["mad"]), int(data["n"])
    return Measurement(median=median, mad=mad, n=n, unit=unit, samples=samples)
