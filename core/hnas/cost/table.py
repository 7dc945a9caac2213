"""The cost table: every layer of a space on one device, and what a network made of them costs."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from attrs import field, frozen

from hnas.cost.networks import COMBINED, priced
from hnas.cost.rows import check_costs, info_from_json, info_to_json, measurement_from_json, measurement_to_json
from hnas.cost.values import MACS, PARAMS, SCHEMA, Cost, DeviceInfo, LayerCosts, Metric
from hnas.errors import DataError, DeviceError
from hnas.layer import Layer


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
