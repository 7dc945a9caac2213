"""A device's measurements as one JSON file, to share or to use without the device."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from attrs import Attribute, field, frozen

from hnas.cost import DeviceInfo, LayerCosts, Measurement, check_costs
from hnas.errors import DataError, DeviceError, short
from hnas.toolkit import codec
from hnas.toolkit.files import check_seal, read_json

SCHEMA = 1
FORMAT = "hnas measurements"
_HINT = "make it again with `hnas profile export`"

RoundCosts = dict[str, dict[int, dict[str, Measurement]]]
"""Layer key, round and metric to measurement."""


def _is_ours(file: TableFile, attribute: Attribute[str], value: str) -> None:
    if value != FORMAT:
        raise ValueError(f"it holds no measurements of hnas: its format is {short(value)}, expected {FORMAT!r}")


@frozen(kw_only=True)
class TableFile:
    """The contents of one device's store: every round of every layer and network measured, and its calibrations."""

    format: str = field(default=FORMAT, validator=_is_ours)
    schema: int = SCHEMA
    info: DeviceInfo
    rows: RoundCosts
    calibration: Mapping[str, Any]


def combine(rounds: Mapping[int, LayerCosts]) -> dict[str, Measurement]:
    """Return each metric's median over the rounds' medians.

    If there are several rounds, its deviation is that between them, which includes drift; else that of the only one.
    """
    first = next(iter(rounds.values()))
    if len(rounds) == 1:
        return dict(first)
    found = {}
    for metric, one in first.items():
        measured = [costs[metric] for costs in rounds.values()]
        value = Measurement.of([m.median for m in measured], one.unit)
        found[metric] = Measurement(median=value.median, mad=value.mad, n=sum(m.n for m in measured), unit=one.unit)
    return found


def read(path: Path) -> TableFile:
    """Read a file that `hnas profile export` wrote; one written by hand needs no checksum.

    Raises `DataError` for anything else.
    """
    content = read_json(path)
    check_seal(content, str(path), needed=False, hint=f"{_HINT}; if you edited it yourself, delete its checksum")
    file = codec.from_json(content, TableFile, str(path), hint=_HINT)
    try:
        if content["info"].get("fingerprint") != file.info.fingerprint:
            raise DeviceError("its fingerprint does not match its device")
        for key, rounds in file.rows.items():
            for costs in rounds.values():
                check_costs(file.info, key, costs)
    except DeviceError as cause:
        raise DataError(f"{path} is damaged or was edited: {cause}", hint=_HINT) from cause
    return file
