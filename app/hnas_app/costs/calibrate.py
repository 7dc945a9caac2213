"""Calibrate a device: a line from the sum over a network's layers to the network, kept only where it helps."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hnas.cost import CostTable
from hnas.layer import Shape
from hnas.space import SearchSpace
from hnas_app.costs.agreement import Calibration, calibrate
from hnas_app.costs.profile import scope
from hnas_app.costs.store import CostStore


def calibrate_table(store: CostStore, table: CostTable, space: SearchSpace, input_shape: Shape) -> Calibration:
    """Fit the line to a table that whole networks have verified, and keep it where it lowers the held-out error.

    Where it does not, one that an earlier calibration kept is dropped. It holds for this device, space and image size.
    Raises `ValueError` where fewer than four networks were measured.
    """
    verified: Mapping[str, Any] = table.check["verified"]
    line = calibrate(verified["estimated"], verified["measured"])
    kept, where = store.load_calibration(table.info), scope(space, input_shape)
    metric = table.info.metrics[0].name
    lines = {name: value for name, value in kept.get(where, {}).items() if name != metric}
    if line.helps:
        lines[metric] = [line.slope, line.offset]
    store.save_calibration(table.info, {**kept, where: lines})
    return line
