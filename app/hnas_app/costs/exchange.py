"""Between the cost store and a table file: what is known of one device, out and in."""

from __future__ import annotations

from typing import Any

from hnas.cost import DeviceInfo
from hnas.errors import DeviceError
from hnas.toolkit.codec import to_json
from hnas.toolkit.table_file import TableFile
from hnas_app.costs.store import CostStore


def from_store(store: CostStore, info: DeviceInfo) -> TableFile:
    """Take everything that is known of a device. Raises `DeviceError` where that is nothing."""
    rows = store.load(info)
    if not rows:
        raise DeviceError(
            f"nothing is known of {info.device} ({info.backend}, {info.runtime}), so there is nothing to export",
            hint=f"measure it first: hnas profile --backend {info.backend}",
        )
    return TableFile(info=info, rows=rows, calibration=store.load_calibration(info))


def into_store(store: CostStore, file: TableFile) -> int:
    """Add what the store lacks, and return how many rows that were. Rows that are there already stay as they are."""
    known = store.load(file.info)
    store.save_device(file.info, to_json(file.info))
    by_round: dict[int, dict[str, Any]] = {}
    for key, rounds in file.rows.items():
        for nth, costs in rounds.items():
            if nth not in known.get(key, {}):
                by_round.setdefault(nth, {})[key] = costs
    for nth, rows in by_round.items():
        store.save(file.info, rows, nth)
    if file.calibration:
        store.save_calibration(file.info, {**file.calibration, **store.load_calibration(file.info)})
    return sum(map(len, by_round.values()))
