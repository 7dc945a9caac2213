"""The cost table: every layer of a space on one device, and what a network made of them costs."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from attrs import asdict, field, frozen

from hnas.cost import MACS, PARAMS, SCHEMA, Cost, DeviceInfo, LayerCosts, Measurement, Metric, Rounds
from hnas.errors import DataError, DeviceError, PluginError
from hnas.layer import Layer

if TYPE_CHECKING:
    from hnas.backend import HardwareBackend

_COMBINE: dict[str, Callable[[Iterable[float]], float]] = {"sum": sum, "max": max}


def priced(info: DeviceInfo, layer: Layer) -> bool:
    """Tell whether the layer costs something on the device, and so needs a row."""
    return info.ops is None or layer.op in info.ops


def sum_over_layers(backend: HardwareBackend, layers: Sequence[Layer]) -> LayerCosts:
    """Return what a network costs where layers run one after another and nothing else costs anything.

    That is `HardwareBackend.measure_network` of a model; a real device measures the network itself.
    """
    info = backend.describe()
    rows = list(backend.measure([layer for layer in layers if priced(info, layer)]))
    return {
        m.name: Measurement(median=_COMBINE[m.combine](r[m.name].median for r in rows) if rows else 0.0, unit=m.unit)
        for m in info.metrics
    }


@frozen(kw_only=True)
class CostTable:
    """The paper's hash table H_t: ``rows`` maps `Layer.key` to what was measured on the device ``info``.

    ``check`` is what the backend found when it checked the table by other means. ``calibration`` maps a metric to
    (slope, offset), which make the cost of a whole network out of the sum over its layers.
    """

    info: DeviceInfo
    rows: Mapping[str, LayerCosts]
    check: Mapping[str, Any] = field(factory=dict)
    calibration: Mapping[str, tuple[float, float]] = field(factory=dict)
    _known: dict[Layer, tuple[float, ...]] = field(init=False, repr=False, eq=False, factory=dict)

    @property
    def metrics(self) -> tuple[Metric, ...]:
        """What `cost` returns: the backend's metrics in its order, then parameters and multiply-accumulates."""
        return (*self.info.metrics, PARAMS, MACS)

    def row(self, layer: Layer) -> LayerCosts:
        """Return the measurements of a layer. Raises `DeviceError` where the table lacks it."""
        try:
            return self.rows[layer.key]
        except KeyError:
            raise DeviceError(
                f"the cost table of {self.info.device} has no row for the layer {layer.key}; it holds "
                f"{len(self.rows)} layers, of another space, input shape or set of options",
                hint="run `hnas profile` for this space and input shape",
            ) from None

    def cost(self, layers: Iterable[Layer]) -> Cost:
        """Combine the layers of a network, each metric by sum or maximum; operations free on the device add nothing.

        Called for every candidate of a search, so it takes about a microsecond for a layer seen before. Raises
        `DeviceError` where a layer has no row.
        """
        known = self._known
        costs = [known.get(layer) or self._price(layer) for layer in layers]
        costs.append((0.0,) * len(self.metrics))
        columns = zip(self.metrics, zip(*costs, strict=True), strict=True)
        values = {metric.name: _COMBINE[metric.combine](column) for metric, column in columns}
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

    def to_json(self) -> dict[str, Any]:
        """Return the table as JSON, with a schema version; `from_json` reads it back."""
        rows = {key: {name: measurement_to_json(m) for name, m in costs.items()} for key, costs in self.rows.items()}
        lines = {name: list(line) for name, line in self.calibration.items()}
        info = info_to_json(self.info)
        return {"schema": SCHEMA, "info": info, "rows": rows, "check": dict(self.check), "calibration": lines}

    @classmethod
    def from_json(cls, value: Mapping[str, Any] | str) -> CostTable:
        """Read what `to_json` wrote, as a mapping or as JSON text. Raises `DataError` on anything else."""
        try:
            data = json.loads(value) if isinstance(value, str) else value
            if data["schema"] != SCHEMA:
                raise DataError(
                    f"the cost table has schema {data['schema']!r}; this hnas reads {SCHEMA}",
                    hint="run `hnas profile` to make it again",
                )
            info = info_from_json(data["info"])
            rows = {
                str(k): {str(n): measurement_from_json(m) for n, m in row.items()} for k, row in data["rows"].items()
            }
            for key, row in rows.items():
                check_costs(info, key, row)
            lines = {str(name): (float(a), float(b)) for name, (a, b) in data.get("calibration", {}).items()}
            return cls(info=info, rows=rows, check=dict(data["check"]), calibration=lines)
        except (ValueError, KeyError, TypeError, AttributeError, DeviceError) as cause:
            raise DataError(
                f"not a cost table, or a damaged one: {type(cause).__name__}: {cause}",
                hint="run `hnas profile` to make it again",
            ) from cause


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
