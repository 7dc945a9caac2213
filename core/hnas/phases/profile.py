"""Phase 2: profile the device once, layer by layer; every task and every limit then reads the same table."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from hnas.backend import HardwareBackend
from hnas.cost import DeviceInfo, LayerCosts
from hnas.cost_store import CostStore
from hnas.cost_table import CostTable, check_costs, info_to_json, priced
from hnas.errors import DeviceError
from hnas.events import Event, Listener
from hnas.layer import Layer, Shape
from hnas.space import SearchSpace

BATCH_S = 0.2
"""How much measuring, in seconds, an interruption may lose. A device slower than that is saved row by row."""


def profile(
    backend: HardwareBackend,
    space: SearchSpace,
    input_shape: Shape,
    n_way: int,
    *,
    store: CostStore | None,
    emit: Listener,
) -> CostTable:
    """Return the cost table of every distinct layer that costs something on the device, checked by the backend.

    Layers that the store knows for this device are not measured again; the others are measured in order and saved as
    they come, so that an interrupted profile goes on where it stopped. The caller closes the backend.

    Raises `DeviceError` where the device fails or its answers make no sense, and `DataError` where the store cannot be
    used.
    """
    info = backend.describe()
    layers = [layer for layer in space.distinct_layers(input_shape, n_way) if priced(info, layer)]
    rows = _known_rows(info, layers, store)
    missing = [layer for layer in layers if layer.key not in rows]
    counts = {"layers": len(layers), "reused": len(rows), "measured": len(missing)}
    emit(Event(phase="profile", kind="start", done=len(rows), total=len(layers), text=info.device, values=counts))

    batch: dict[str, LayerCosts] = {}

    def commit() -> None:
        if not batch:
            return
        measured = dict(batch)
        batch.clear()  # first: where saving fails it is not tried again on the way out
        if store is not None:
            store.save(info, measured)
        rows.update(measured)
        emit(Event(phase="profile", kind="step", done=len(rows), total=len(layers)))

    saved_at = time.monotonic()
    try:
        for layer, costs in _in_step(info, missing, backend.measure(missing) if missing else ()):
            check_costs(info, layer.key, costs)
            batch[layer.key] = costs
            if time.monotonic() - saved_at >= BATCH_S:
                commit()
                saved_at = time.monotonic()
    finally:
        commit()  # also when interrupted, or when a later layer failed

    table = {layer.key: rows[layer.key] for layer in layers}
    check = dict(backend.check_table(table, layers))
    emit(Event(phase="profile", kind="end", done=len(layers), total=len(layers), values=counts | {"check": check}))
    return CostTable(info=info, rows=table, check=check)


def profile_json(table: CostTable, layers: Iterable[Layer]) -> dict[str, Any]:
    """Return the table as ``hnas profile --json`` prints it: the device, then each layer with its fields and costs.

    Costs stand under the metric's name with its unit (``latency_ms``, ``cycles``). Layers that are free on the device
    are left out. Raises `DeviceError` for a layer that the table lacks.
    """
    return {
        **info_to_json(table.info),
        "check": dict(table.check),
        "layers": [
            {"layer": layer.to_json(), "key": layer.key, **_columns(table.info, table.row(layer))}
            for layer in layers
            if priced(table.info, layer)
        ],
    }


def _columns(info: DeviceInfo, costs: LayerCosts) -> dict[str, float]:
    columns: dict[str, float] = {}
    for metric in info.metrics:
        value = costs[metric.name].median
        whole = not metric.unit and float(value).is_integer()  # a plain count
        columns[metric.column] = int(value) if whole else value
    return columns


def _known_rows(info: DeviceInfo, layers: Sequence[Layer], store: CostStore | None) -> dict[str, LayerCosts]:
    """Return the store's rows for these layers; one that lacks a metric which the device has now is measured again."""
    stored: Mapping[str, LayerCosts] = store.load(info) if store is not None else {}
    rows: dict[str, LayerCosts] = {}
    for layer in layers:
        try:
            check_costs(info, layer.key, stored.get(layer.key, {}))
        except DeviceError:
            continue
        rows[layer.key] = stored[layer.key]
    return rows


def _in_step(
    info: DeviceInfo, layers: Sequence[Layer], measured: Iterable[LayerCosts]
) -> Iterable[tuple[Layer, LayerCosts]]:
    """Pair each layer with its costs. Raises `DeviceError` where the backend yields too few or too many."""
    answers = iter(measured)
    for i, layer in enumerate(layers):
        costs = next(answers, None)
        if costs is None:
            raise DeviceError(
                f"{info.backend} yielded costs for {i} of {len(layers)} layers and stopped before {layer.key}"
            )
        yield layer, costs
    if next(answers, None) is not None:
        raise DeviceError(f"{info.backend} yielded more costs than the {len(layers)} layers that it was asked for")
