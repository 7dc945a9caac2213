"""Rows of a cost table, checked."""

from __future__ import annotations

import math
from collections.abc import Mapping

from hnas.cost.values import DeviceInfo, LayerCosts, Measurement
from hnas.errors import DeviceError


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
