"""Measure a device: its cost table for a space, the plan for it, several devices at once, a calibration."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs
from attrs import frozen

from hnas.errors import DataError
from hnas.layer import Shape
from hnas.seeds import Seeds
from hnas_app.usecases.arguments import Caller, Given, WrongArgument, check_writable

if TYPE_CHECKING:
    from hnas.backend import HardwareBackend
    from hnas.cost import CostTable, DeviceInfo
    from hnas.space import SearchSpace
    from hnas.toolkit.table_file import TableFile
    from hnas_app.config.schema import LoadedConfig
    from hnas_app.costs.agreement import Calibration
    from hnas_app.costs.profile import ProfilePlan
    from hnas_app.costs.store import CostStore


@frozen(kw_only=True)
class Subject:
    """The layers to measure: those of a space, for one size of images."""

    loaded: LoadedConfig
    space: SearchSpace
    input_shape: Shape

    @property
    def layers(self) -> tuple[SearchSpace, Shape, int]:
        """The arguments of the layers: the space, the size of images (C, H, W), and the number of classes."""
        return self.space, self.input_shape, self.loaded.config.task.n_way

    @property
    def seeds(self) -> Seeds:
        return Seeds(self.loaded.config.seed)

    def record(self, table: CostTable) -> dict[str, Any]:
        """Return a table as ``hnas profile --json`` prints it."""
        from hnas_app.costs.profile_json import profile_json

        return profile_json(table, *self.layers)


def subject(caller: Caller, given: Given, input_shape: Shape | None = None) -> Subject:
    """Resolve the layers to measure; without ``input_shape``, images have the size of the tasks' images."""
    from hnas_app.runs.session import chosen

    loaded = caller.load(given)
    space = chosen("space", loaded.config, caller.registry)
    shape = input_shape or chosen("tasks", loaded.config, caller.registry).image_shape
    return Subject(loaded=loaded, space=space, input_shape=shape)


def profile(caller: Caller, what: Subject, *, verify: int = 0, fresh: bool = False) -> CostTable:
    """Measure every distinct layer, or take it from the cost store; see `hnas_app.costs.profile.profile`."""
    from hnas_app.costs.profile import profile as measure

    with _opened(caller, what.loaded) as (board, store):
        return measure(board, *what.layers, store=store, emit=caller.emit, verify=verify, fresh=fresh, seeds=what.seeds)


def plan(caller: Caller, what: Subject, *, verify: int = 0, fresh: bool = False) -> ProfilePlan:
    """Return the plan of `profile`; measure nothing."""
    from hnas_app.costs.profile import plan as planned

    with _opened(caller, what.loaded) as (board, store):
        return planned(board, *what.layers, store=store, verify=verify, fresh=fresh, seeds=what.seeds)


def profile_several(
    caller: Caller,
    given: Given,
    backends: Sequence[str],
    *,
    input_shape: Shape | None = None,
    verify: int = 0,
    fresh: bool = False,
) -> tuple[Subject, dict[str, CostTable]]:
    """Return each device's table by the backend's name; those on different machines are measured at the same time."""
    from hnas_app.costs.profile_devices import profile_devices
    from hnas_app.costs.store import CostStore
    from hnas_app.runs.session import chosen

    if len(set(backends)) < len(backends):
        raise WrongArgument("backends", f"the same one twice: {', '.join(backends)}")
    if given.device:
        raise WrongArgument("device", "each of several backends names its own, as in arm:pi4")
    first = subject(caller, attrs.evolve(given, backend=backends[0]), input_shape)
    others = {name: caller.load(attrs.evolve(given, backend=name)) for name in backends[1:]}
    loaded = {backends[0]: first.loaded} | others
    tables = profile_devices(
        {name: chosen("backend", each.config, caller.registry) for name, each in loaded.items()},
        *first.layers,
        open_store=lambda: CostStore(notify=caller.note),
        emit=caller.emit,
        verify=verify,
        fresh=fresh,
        seeds=first.seeds,
    )
    return first, tables


def calibrate(caller: Caller, what: Subject, *, networks: int) -> tuple[DeviceInfo, Calibration]:
    """Measure whole networks, and correct sums over layers by them if that helps."""
    from hnas_app.costs.agreement import calibrate_table
    from hnas_app.costs.store import CostStore

    table = profile(caller, what, verify=networks)
    with CostStore(notify=caller.note) as store:
        return table.info, calibrate_table(store, table, what.space, what.input_shape)


def export_table(caller: Caller, given: Given, file: Path) -> tuple[TableFile, LoadedConfig]:
    """Write everything known about a device into a file."""
    from hnas.toolkit.codec import to_json
    from hnas.toolkit.files import sealed, write_json
    from hnas_app.costs.description import described
    from hnas_app.costs.store import from_store

    check_writable(file, "file")
    loaded = caller.load(given)
    with _opened(caller, loaded) as (board, store):
        found = from_store(store, described(board))
    if file.exists():
        raise DataError(f"{file} exists already, and is left alone", hint="give another name, or move it away")
    write_json(file, sealed(to_json(found)))
    return found, loaded


def import_table(file: Path) -> tuple[TableFile, int]:
    """Take measurements from a file into this machine's cost store; return them, and how many are new."""
    from hnas.toolkit.table_file import read
    from hnas_app.costs.checked_info import check_calibration
    from hnas_app.costs.store import CostStore, into_store

    found = read(file)
    check_calibration(found.calibration, file)
    with CostStore() as store:
        return found, into_store(store, found)


@contextmanager
def _opened(caller: Caller, loaded: LoadedConfig) -> Iterator[tuple[HardwareBackend, CostStore]]:
    """Yield the device and the store, and give both back."""
    from hnas_app.costs.closing import given_back
    from hnas_app.costs.store import CostStore
    from hnas_app.runs.session import chosen

    backend = chosen("backend", loaded.config, caller.registry)
    with given_back(backend, caller.note) as board, CostStore(notify=caller.note) as store:
        yield board, store
