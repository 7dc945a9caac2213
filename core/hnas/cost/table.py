"""The cost table: every layer of a space on one device, and what a network costs, from what its layers cost."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Protocol

from attrs import field, frozen

from hnas.cost.values import MACS, PARAMS, Cost, DeviceInfo, LayerCosts, Measurement, Metric
from hnas.errors import DeviceError
from hnas.layer import Layer
from hnas.toolkit.operations import OLDER, OPERATIONS


class Pricer(Protocol):
    """The part of a `HardwareBackend` that returns the costs of single layers."""

    def describe(self) -> DeviceInfo: ...

    def measure(self, layers: Sequence[Layer]) -> Iterable[LayerCosts]: ...


COMBINED: dict[str, Callable[[Iterable[float]], float]] = {"sum": sum, "max": max}
"""How the layers of a network combine, by `Metric.combine`."""


def priced(info: DeviceInfo, layer: Layer) -> bool:
    """Return whether the layer costs something on the device, and so needs a row.

    Raises `DeviceError` for an operation that the backend neither prices nor declares free.
    """
    ops, free = OPERATIONS if info.ops is None else info.ops, OLDER if info.free is None else info.free
    if layer.op not in ops and layer.op not in free:
        raise DeviceError(
            f"the backend {info.backend} neither prices {layer.op!r} (the layer {layer.key}) nor declares it free; it "
            f"prices {', '.join(sorted(ops))}",
            hint="use another backend; in one of your own, name the operation in the `ops` or `free` of its DeviceInfo",
        )
    return layer.op in ops


def sum_over_layers(backend: Pricer, layers: Sequence[Layer]) -> LayerCosts:
    """Return the cost of a network if its layers run one after another and nothing else costs anything.

    Models use it for `HardwareBackend.measure_network`; a real device measures the network itself.
    """
    info = backend.describe()
    rows = list(backend.measure([layer for layer in layers if priced(info, layer)]))
    return {
        m.name: Measurement(median=COMBINED[m.combine](r[m.name].median for r in rows) if rows else 0.0, unit=m.unit)
        for m in info.metrics
    }


@frozen(kw_only=True)
class CostTable:
    """The paper's hash table H_t: ``rows`` maps `Layer.key` to the measurements on the device ``info``.

    ``check`` is the result of `HardwareBackend.check_table`. ``calibration`` maps a metric to (slope, offset), which
    turn the sum over a network's layers into the cost of the whole network.
    """

    schema: int = field(default=2, metadata={"unsealed": 1})
    info: DeviceInfo
    rows: Mapping[str, LayerCosts]
    check: Mapping[str, Any] = field(factory=dict)
    calibration: Mapping[str, tuple[float, float]] = field(factory=dict)
    _known: dict[Layer, tuple[float, ...]] = field(init=False, repr=False, eq=False, factory=dict)

    @property
    def metrics(self) -> tuple[Metric, ...]:
        """The metrics that `cost` returns: the backend's in its order, then parameters and multiply-accumulates."""
        return (*self.info.metrics, PARAMS, MACS)

    def row(self, layer: Layer) -> LayerCosts:
        """Return the measurements of a layer. Raises `DeviceError` if the table lacks it."""
        try:
            return self.rows[layer.key]
        except KeyError:
            raise DeviceError(
                f"the cost table of {self.info.device} has no row for the layer {layer.key}; it holds "
                f"{len(self.rows)} layers, of another space, input shape or set of options",
                hint="run `hnas profile` for this space and input shape; if that is what was measured, the space's "
                "`distinct_layers` leaves this layer out",
            ) from None

    def cost(self, layers: Iterable[Layer]) -> Cost:
        """Combine the layers of a network, each metric by sum or maximum; operations free on the device add nothing.

        Called for every candidate of a search, so it takes about a microsecond for a layer seen before. Raises
        `DeviceError` if a layer has no row.
        """
        known = self._known
        costs = [known.get(layer) or self._price(layer) for layer in layers]
        costs.append((0.0,) * len(self.metrics))
        columns = zip(self.metrics, zip(*costs, strict=True), strict=True)
        values = {metric.name: COMBINED[metric.combine](column) for metric, column in columns}
        for name, (slope, offset) in self.calibration.items():
            values[name] = slope * values[name] + offset
        return Cost(values=values)

    def _price(self, layer: Layer) -> tuple[float, ...]:
        names = [m.name for m in self.info.metrics]
        if priced(self.info, layer):
            row = self.row(layer)
            device = [row[name].median for name in names]
        else:
            device = [0.0] * len(names)
        self._known[layer] = costs = (*device, layer.params, layer.macs)
        return costs
