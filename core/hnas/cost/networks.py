"""What a network costs, from what its layers cost."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Protocol

from hnas.cost.values import DeviceInfo, LayerCosts, Measurement
from hnas.layer import Layer


class Pricer(Protocol):
    """The part of a `HardwareBackend` that says what single layers cost."""

    def describe(self) -> DeviceInfo: ...

    def measure(self, layers: Sequence[Layer]) -> Iterable[LayerCosts]: ...


COMBINED: dict[str, Callable[[Iterable[float]], float]] = {"sum": sum, "max": max}
"""How the layers of a network combine, by `Metric.combine`."""


def priced(info: DeviceInfo, layer: Layer) -> bool:
    """Tell whether the layer costs something on the device, and so needs a row."""
    return info.ops is None or layer.op in info.ops


def sum_over_layers(backend: Pricer, layers: Sequence[Layer]) -> LayerCosts:
    """Return what a network costs where layers run one after another and nothing else costs anything.

    That is `HardwareBackend.measure_network` of a model; a real device measures the network itself.
    """
    info = backend.describe()
    rows = list(backend.measure([layer for layer in layers if priced(info, layer)]))
    return {
        m.name: Measurement(median=COMBINED[m.combine](r[m.name].median for r in rows) if rows else 0.0, unit=m.unit)
        for m in info.metrics
    }
