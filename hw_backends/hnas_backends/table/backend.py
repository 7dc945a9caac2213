"""The backend: rows of a file in place of a device."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path

import attrs
from attrs import frozen

from hnas import ConfigError, DeviceError, DeviceInfo, HardwareBackend, Layer
from hnas.cost import LayerCosts
from hnas.errors import quoted
from hnas.settings import setting
from hnas.toolkit.table_file import TableFile, combine, read


@frozen(kw_only=True)
class TableOptions:
    """Where the measurements are."""

    device: str = setting("", "file that `hnas profile export` wrote, as in --backend table:pi4.json")


class Table(HardwareBackend):
    """Costs that were measured elsewhere; see `hnas_backends.table`."""

    def __init__(self, options: TableOptions) -> None:
        self._device = options.device

    def describe(self) -> DeviceInfo:
        info = self._file.info
        content = hashlib.sha256(self._path.read_bytes()).hexdigest()[:16]
        # The file is part of the settings: rows taken from it are never mixed with a device's own.
        return attrs.evolve(info, settings={**info.settings, "table": content}, rounds=None)

    def measure(self, layers: Sequence[Layer]) -> Iterator[LayerCosts]:
        for layer in layers:
            if layer.key not in self._file.rows:
                raise DeviceError(
                    f"{self._path} has no measurement of the layer {layer.key}; it is of another space, image size or "
                    "set of options, or its profile was not finished",
                    hint="export a finished profile of this space and image size",
                )
            yield combine(self._file.rows[layer.key])

    @cached_property
    def _path(self) -> Path:
        if not self._device:
            raise ConfigError(
                "backend table: no file is given", hint="name the one that `hnas profile export` wrote: table:FILE"
            )
        path = Path(os.path.expanduser(self._device))
        if not path.is_file():
            raise ConfigError(
                f"backend table: there is no file {path}",
                hint=f"`hnas profile export {quoted(path)} --backend BACKEND:DEVICE` writes it, on the machine with "
                "the device",
            )
        return path

    @cached_property
    def _file(self) -> TableFile:
        return read(self._path)
