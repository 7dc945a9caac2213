"""Phase 2 for several devices: one slot for each, in turn on a slot, at the same time across slots."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from typing import Any

import attrs

from hnas.backend import HardwareBackend
from hnas.cost import CostTable
from hnas.errors import DeviceError, HnasError
from hnas.events import Event, Listener
from hnas.layer import Shape
from hnas.seeds import Seeds
from hnas.space import SearchSpace
from hnas_app.costs.closing import given_back
from hnas_app.costs.profile import profile
from hnas_app.costs.store import CostStore
from hnas_app.executors.in_process import InProcess
from hnas_app.executors.threads import Threads


def profile_devices(
    backends: Mapping[str, HardwareBackend],
    space: SearchSpace,
    input_shape: Shape,
    n_way: int,
    *,
    open_store: Callable[[], CostStore] | None,
    emit: Listener,
    verify: int = 0,
    fresh: bool = False,
    seeds: Seeds = Seeds(0),  # noqa: B008 - frozen
) -> dict[str, CostTable]:
    """Return what `profile` returns for each backend, by name; every backend is closed at the end.

    Backends of one `HardwareBackend.slot` are measured one after the other. Different slots run at the same time, in
    threads: they mostly wait for their devices. If a backend measures this machine, nothing else should run on it.
    Events are of phase ``profile NAME``. ``open_store`` opens the cost store, for each device anew.

    A device that fails does not stop the others, whose rows are kept. Raises its error at the end, or a `DeviceError`
    that names all if several failed.
    """
    telling, stopping = threading.Lock(), threading.Event()

    def tell(event: Event) -> None:
        if stopping.is_set():
            raise _Stopped
        with telling:
            emit(event)

    def profiled(name: str, backend: HardwareBackend) -> CostTable | HnasError:
        def named(event: Event) -> None:
            tell(attrs.evolve(event, phase=f"{event.phase} {name}"))

        try:
            with (
                given_back(backend, lambda text: named(Event(phase="profile", kind="note", text=text))),
                open_store() if open_store else nullcontext() as store,
            ):
                return profile(
                    backend, space, input_shape, n_way, store=store, emit=named, verify=verify, fresh=fresh, seeds=seeds
                )
        except HnasError as error:
            return error

    def slot(_: Mapping[str, Any], names: Sequence[str]) -> dict[str, CostTable | HnasError]:
        return {name: profiled(name, backends[name]) for name in names}

    slots: dict[str, list[str]] = {}
    for name, backend in backends.items():
        slots.setdefault(backend.slot(), []).append(name)
    found: dict[str, CostTable | HnasError] = {}
    with Threads(len(slots)) if len(slots) > 1 else InProcess() as executor:
        try:
            for part in executor.map(slot, list(slots.values())):
                found |= part
        except BaseException:
            stopping.set()  # the other threads end when they have saved a row
            raise
    failed = {name: error for name in backends if isinstance(error := found[name], HnasError)}
    if len(failed) > 1:
        told = "\n".join(f"{name}: {error}" for name, error in failed.items())
        hint = next((error.hint for error in failed.values() if error.hint), None)
        raise DeviceError(f"{len(failed)} of {len(backends)} devices failed:\n{told}", hint=hint)
    for error in failed.values():
        raise error
    return {name: table for name in backends if isinstance(table := found[name], CostTable)}


class _Stopped(Exception):
    """Ends a profile because another one was interrupted."""
