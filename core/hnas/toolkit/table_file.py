"""A device's measurements as one JSON file: to share, or to carry to where the device is not."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from attrs import frozen

from hnas.cost import DeviceInfo, Measurement
from hnas.cost.rows import check_costs, info_from_json, info_to_json, measurement_from_json, measurement_to_json
from hnas.errors import DataError, DeviceError
from hnas.toolkit.files import read_json, write_json

SCHEMA = 1
FORMAT = "hnas measurements"

RoundCosts = dict[str, dict[int, dict[str, Measurement]]]
"""Layer key, round and metric to measurement."""


@frozen(kw_only=True)
class TableFile:
    """What one device's store holds: every round of every layer and network measured, and its calibrations."""

    info: DeviceInfo
    rows: RoundCosts
    calibration: Mapping[str, Any]

    @property
    def n_rows(self) -> int:
        """How many rounds of layers there are."""
        return sum(map(len, self.rows.values()))


def write(path: Path, file: TableFile) -> None:
    """Write a file that is not there yet. Raises `DataError` where it is, or cannot be written."""
    if path.exists():
        raise DataError(f"{path} is there already, and is left alone", hint="give another name, or move it away")
    rows = {
        key: {
            str(nth): {metric: measurement_to_json(m) for metric, m in costs.items()} for nth, costs in rounds.items()
        }
        for key, rounds in file.rows.items()
    }
    content = {"format": FORMAT, "schema": SCHEMA, "info": info_to_json(file.info), "rows": rows}
    write_json(path, content | {"calibration": dict(file.calibration)})


def read(path: Path) -> TableFile:
    """Read what `write` wrote. Raises `DataError` on anything else, whatever is wrong with it."""
    content = read_json(path)
    try:
        if content["format"] != FORMAT:
            raise ValueError(f"its format is {content['format']!r}, expected {FORMAT!r}")
        if content["schema"] > SCHEMA:
            raise DataError(
                f"{path} has schema {content['schema']}, written by a newer hnas; this one reads {SCHEMA}",
                hint="upgrade hnas, or export it again with this version",
            )
        info = info_from_json(content["info"])
        if content["info"]["fingerprint"] != info.fingerprint:
            raise ValueError(
                f"its fingerprint {content['info']['fingerprint']!r} is not that of the device it tells of"
            )
        rows: RoundCosts = {}
        for key, rounds in content["rows"].items():
            for nth, costs in rounds.items():
                read_costs = {str(metric): measurement_from_json(m) for metric, m in costs.items()}
                check_costs(info, key, read_costs)
                rows.setdefault(str(key), {})[int(nth)] = read_costs
        return TableFile(info=info, rows=rows, calibration=dict(content["calibration"]))
    except (ValueError, KeyError, TypeError, AttributeError, DeviceError) as cause:
        raise DataError(
            f"{path} holds no measurements of hnas, or is damaged: {type(cause).__name__}: {cause}",
            hint="make it again with `hnas profile export`",
        ) from cause
