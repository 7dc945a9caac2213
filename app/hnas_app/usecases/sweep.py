"""Searches for several backends and limits: one folder, a search for each pair, all from one super-net."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import attrs
from attrs import frozen

from hnas.discovery.user_code import is_object
from hnas.errors import ConfigError, quoted
from hnas.toolkit.codec import save
from hnas_app.runs.making import copy_super_net, removed_if_unused, reserved
from hnas_app.runs.run_dir import SWEEP, RunDir, is_sweep, slug
from hnas_app.usecases.arguments import Caller, Given, WrongArgument
from hnas_app.usecases.opening import resolved

if TYPE_CHECKING:
    from hnas_app.config.schema import Config
    from hnas_app.sweeps.record import SweepRecord


@frozen(kw_only=True)
class Pairs:
    """Every backend is paired with every set of limits; without any, the run's own are taken."""

    backends: tuple[str, ...] = ()
    constraints: tuple[str, ...] = ()
    """Sets of limits that must hold together, each joined by commas."""

    def are_several(self, run: Path) -> bool:
        """Return whether a sweep is meant: several pairs, or the folder of one to go on with."""
        return len(self.backends) > 1 or len(self.constraints) > 1 or is_sweep(run)


@frozen(kw_only=True)
class Sweep:
    """A finished sweep: its folder, which holds a run directory for each pair, and the record of its results."""

    path: Path
    record: SweepRecord


def sweep(
    caller: Caller, path: Path, pairs: Pairs, given: Given, *, own: Given | None = None, folder: Path | None = None
) -> Sweep:
    """Search for all pairs with the super-net of the run ``path``, in a new folder beside it; or go on in ``path``.

    ``folder`` is where to make the new folder, if not beside the run. ``given`` holds the arguments that are the same
    for all pairs; ``own`` is that of `asked`. Raises `ConfigError` or `InfeasibleError` that names every pair which
    cannot be searched for, before anything is scored.
    """
    from hnas_app.sweeps.at_work import run_sweep, sweep_session
    from hnas_app.sweeps.record import read_sweep

    own = own or given.same_results
    if not is_sweep(path):
        opened = _made(caller, path, *_planned(caller, path, pairs, given), folder)
    elif folder is not None:
        raise WrongArgument("name", f"{path} is a sweep's folder, and has a name already")
    elif pairs != Pairs() or given != own:
        raise ConfigError(
            f"{path} is a sweep's folder: its pairs and settings are chosen already",
            hint=f"`hnas adapt {quoted(path)}` goes on with it; name a run to sweep anew with its super-net",
        )
    elif (record := read_sweep(path)).is_done:
        return Sweep(path=path, record=record)
    else:
        opened = _resumed(caller, path, own)
    with opened as (folder, configs):
        record = read_sweep(folder)
        caller.began(folder)
        session = sweep_session(
            folder, configs, caller.registry, emit=caller.emit, notify=caller.note, trackers=caller.trackers
        )
        with session as pipelines:
            return Sweep(path=folder, record=run_sweep(folder, record, pipelines, emit=caller.emit))


def _planned(caller: Caller, path: Path, pairs: Pairs, given: Given) -> tuple[SweepRecord, dict[str, Config]]:
    """Return the record of a new sweep, and each pair's configuration. Raises if a pair makes no sense."""
    from hnas_app.costs.limits import split_limits
    from hnas_app.runs.super_net import check_super_net
    from hnas_app.sweeps.at_work import check_pairs
    from hnas_app.sweeps.record import SweepPair, SweepRecord

    run = RunDir.open(path)
    if given.device is not None and len(pairs.backends) > 1:
        raise WrongArgument("device", "is for one backend; write --backend NAME:DEVICE for each")
    for name, values in (("backends", pairs.backends), ("constraints", pairs.constraints)):
        if twice := [text for i, text in enumerate(values) if text in values[:i]]:
            raise WrongArgument(name, f"{twice[0]!r} is given twice")
    planned: list[SweepPair] = []
    configs: dict[str, Config] = {}
    mistakes: list[ConfigError] = []
    sets = [split_limits(text) for text in pairs.constraints]
    for backend in pairs.backends or (None,):
        each = given if backend is None else attrs.evolve(given, backend=backend)
        try:
            config = _config(caller, run, each)
            check_super_net(run, config, caller.registry)
        except ConfigError as mistake:
            mistakes.append(mistake)
            continue
        for limits in sets or [config.constraints]:
            name = f"{len(planned) + 1:02d}-{slug(config.backend.name)}"
            planned.append(SweepPair(name=name, backend=backend or config.backend.name, constraints=limits))
            configs[name] = attrs.evolve(config, constraints=limits)
    if mistakes:
        raise ConfigError("\n".join(map(str, mistakes)), hint=mistakes[0].hint)
    check_pairs(planned, configs, caller.registry)
    return SweepRecord(supernet=str(path), pairs=tuple(planned)), configs


@contextmanager
def _made(
    caller: Caller, path: Path, record: SweepRecord, configs: dict[str, Config], folder: Path | None
) -> Iterator[tuple[Path, dict[str, Config]]]:
    """Make a sweep's folder beside the run ``path``, with a run directory for each pair; all stay locked."""
    from hnas_app.runs.super_net import place_beside
    from hnas_app.sweeps.record import new_folder

    run = RunDir.open(path)
    folder = folder or new_folder(place_beside(run, caller.root))
    pairs = {name: RunDir(folder / name) for name in configs}
    with ExitStack() as held:
        held.enter_context(reserved(RunDir(folder)))
        held.enter_context(removed_if_unused(folder / SWEEP, pairs.values()))
        for name, pair in pairs.items():
            copy_super_net(run, held.enter_context(reserved(pair)), configs[name])
        save(folder / SWEEP, record)
        yield folder, configs


@contextmanager
def _resumed(caller: Caller, folder: Path, own: Given) -> Iterator[tuple[Path, dict[str, Config]]]:
    """Resolve the configurations of a sweep, as the pairs' run directories have them; all stay locked."""
    from hnas_app.sweeps.record import read_sweep

    with ExitStack() as held:
        held.enter_context(RunDir(folder).locked())
        record = read_sweep(folder)
        for pair in record.pairs:
            held.enter_context(RunDir(folder / pair.name).locked())
        yield folder, _configs(caller, folder, record, own)


def _configs(caller: Caller, folder: Path, record: SweepRecord, own: Given) -> dict[str, Config]:
    configs = {}
    for pair in record.pairs:
        run = RunDir.open(folder / pair.name)
        elsewhere = "backend" in own.objects and not is_object(pair.backend)
        configs[pair.name] = _config(caller, run, attrs.evolve(own, backend=None) if elsewhere else own)
        run.check_config(configs[pair.name])
    return configs


def _config(caller: Caller, run: RunDir, given: Given) -> Config:
    # Its notes are left out: those about the backend in the run's file do not concern the other backends.
    return resolved(caller, given, quiet=True, file=run.config_path)
