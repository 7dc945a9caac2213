"""A cost table as ``hnas profile`` shows it: the device, each layer, and the costs of the reference networks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from hnas.cost import CostTable, Metric, priced
from hnas.layer import Shape
from hnas.space import SearchSpace
from hnas.toolkit.codec import to_json
from hnas_app.costs.checked_layers import distinct_layers


def profile_json(table: CostTable, space: SearchSpace, input_shape: Shape, n_way: int) -> dict[str, Any]:
    """Return a space's table as ``hnas profile --json`` prints it.

    Costs are keyed by the metric's name with its unit (``latency_ms``, ``cycles``). ``layers`` are those that cost
    something on the device, each with its fields. ``references`` are the networks that the space names, with parameters
    and multiply-accumulates, too: limits are chosen by them. Raises `DeviceError` for a layer that the table lacks.
    """
    layers = [layer for layer in distinct_layers(space, input_shape, n_way) if priced(table.info, layer)]
    medians = [{name: m.median for name, m in table.row(layer).items()} for layer in layers]
    references = {name: space.layers(arch, input_shape, n_way) for name, arch in space.references().items()}
    return {
        **to_json(table.info),
        "check": dict(table.check),
        "calibration": {name: list(line) for name, line in table.calibration.items()},
        "layers": [
            {"layer": to_json(layer), "key": layer.key, **_columns(table.info.metrics, costs)}
            for layer, costs in zip(layers, medians, strict=True)
        ],
        "references": {name: _columns(table.metrics, table.cost(n).values) for name, n in references.items()},
    }


def _columns(metrics: Sequence[Metric], costs: Mapping[str, float]) -> dict[str, float]:
    columns: dict[str, float] = {}
    for metric in metrics:
        value = costs[metric.name]
        whole = not metric.unit and float(value).is_integer()  # a plain count
        columns[metric.column] = int(value) if whole else value
    return columns
