"""A run directory opened for work: made, resumed or branched; its configuration is resolved once."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Unpack

import attrs
from attrs import define

from hnas.errors import ConfigError, DataError, quoted
from hnas_app.runs.making import (
    copy_super_net,
    is_made,
    is_unused,
    removed_if_unused,
    reserved,
    resume_or_create,
)
from hnas_app.runs.run_dir import RunDir, is_sweep
from hnas_app.usecases.arguments import Caller, Given, Sources, nobody
from hnas_app.usecases.ranks import joined, refuse_ranks

if TYPE_CHECKING:
    from hnas_app.config.schema import Config
    from hnas_app.executors.interface import Executor
    from hnas_app.runs.pipeline import Pipeline
    from hnas_app.training.setup.setup import Setup


@contextmanager
def at_work(
    caller: Caller,
    config: Config,
    opened: AbstractContextManager[RunDir],
    workers: Executor | None = None,
    *,
    ahead: Callable[[Setup], None] = nobody,
) -> Iterator[Pipeline]:
    """Yield the pipeline of a run directory, and give its workers back at the end.

    ``opened`` makes or finds the directory, and keeps it locked; `made_or_resumed`, `branched` and `RunDir.locked`
    return such contexts. Before it is entered, and so before anything is written, the plugins are constructed and
    ``ahead`` is called, which raises if the command cannot start. ``workers`` are given if the caller has started them,
    as a group of ranks must be before the directory is made. Events go to the caller and to ``metrics.jsonl``. Raises
    `PluginError` for a plugin that cannot be constructed, and `DataError` if another process is in the directory.
    """
    from hnas_app.runs.session import pipeline_of, setup_of, told_settings, trackers_of, workers_of
    from hnas_app.trackers.listening import listening

    trackers = trackers_of(caller.trackers, caller.registry)
    setup = setup_of(config, caller.registry)
    ahead(setup)
    with opened as run, workers or workers_of(config, caller.note) as started:
        caller.began(run.path)
        note_unchecked(caller, run)
        with listening(trackers, run.path, told_settings(config), caller.emit) as listeners:
            yield pipeline_of(run, config, caller.registry, setup, started, caller.emit, listeners)


def note_unchecked(caller: Caller, run: RunDir) -> None:
    """Tell the caller if the records of a run have no checksums."""
    if run.is_unchecked:
        caller.note(f"{run.path} was made by an older hnas: its records have no checksums, and are read unchecked")


def check_start(
    caller: Caller,
    config: Config,
    run_dir: Path | None = None,
    *,
    origin: RunDir | None = None,
    phases: Collection[str] | None = None,
    command: str = "adapt",
) -> Callable[[Setup], None]:
    """Return a check that a command can start: the tasks of ``phases`` can be drawn, by default those of all.

    Unless it only trains, its device is asked for its metrics, and its limits are checked. Nothing is checked for a
    run in ``run_dir`` that has computed something already. ``origin`` is the run that a new one branches from.
    """
    from hnas_app.runs.session import chosen
    from hnas_app.runs.tasks_check import DRAWING, check_needs, checked
    from hnas_app.search.limits import check_limits
    from hnas_app.training.sampling.architectures import check_sampling

    def check(setup: Setup) -> None:
        run = run_dir and RunDir(run_dir)
        if run and is_made(run) and not is_unused(run):
            return
        if origin is None:
            check_sampling(setup.space, setup.learner, config.meta_train, setup.seeds)
            check_needs(setup, config, DRAWING if phases is None else phases)
        elif phases != ():
            checked(setup, origin, config, DRAWING[1:] if phases is None else phases)
        if command != "meta-train":
            check_limits(setup, config, chosen("backend", config, caller.registry))

    return check


def resolved(caller: Caller, given: Given, *, quiet: bool = False, **sources: Unpack[Sources]) -> Config:
    """Resolve the configuration of a run, and raise before anything is written if it cannot work here.

    The accelerator and the executor must be available, and workers must be able to import the objects.
    """
    from hnas_app.executors.choice import check_executor
    from hnas_app.runs.learner_check import suited
    from hnas_app.training.accelerator import check_accelerator

    config, note = suited(caller.load(given, quiet=quiet, **sources), caller.registry)
    if note and not quiet:
        caller.note(note)
    check_accelerator(config.accelerator)
    check_executor(config.executor, config.accelerator)
    given.check_importable()
    return config


@contextmanager
def made_or_resumed(
    caller: Caller, config: Config, run_dir: Path | None, root: Path = Path("runs")
) -> Iterator[RunDir]:
    """Open the run in ``run_dir``, or make it there, and keep it locked; without a name it is made below ``root``."""
    with ExitStack() as held:
        run = held.enter_context(reserved(RunDir(run_dir) if run_dir else RunDir.named(config, root)))
        if run_dir is None:
            held.enter_context(removed_if_unused(run.record_path, [run]))
        run, notes = resume_or_create(run.path, config)
        for text in notes:
            caller.note(text)
        yield run


def branched(
    caller: Caller, run: RunDir, config: Config, *, n_way: int | None = None, run_dir: Path | None = None
) -> AbstractContextManager[RunDir]:
    """Return a context that makes a run of other settings beside ``run``, which starts from its super-net, locked.

    It is made in ``run_dir`` if that is given, and below `Caller.root` if ``run`` is an unpacked super-net. ``n_way``
    is the number of classes that the copy serves, if the caller cuts it to fewer. Raises `ConfigError` or `DataError`
    at once if the super-net does not serve these settings.
    """
    from hnas_app.runs.super_net import check_super_net, place_beside

    served = config if n_way is None else attrs.evolve(config, task=attrs.evolve(config.task, n_way=n_way))
    check_super_net(run, served, caller.registry)
    return _beside(run, config, place_beside(run, caller.root), run_dir)


@contextmanager
def _beside(run: RunDir, config: Config, folder: Path, run_dir: Path | None) -> Iterator[RunDir]:
    root = folder.parent if is_sweep(folder) else folder  # a sweep's folder holds its own pairs only
    with ExitStack() as held:
        new = held.enter_context(reserved(RunDir(run_dir) if run_dir else RunDir.named(config, root)))
        if run_dir is None:
            held.enter_context(removed_if_unused(new.record_path, [new]))
        copy_super_net(run, new, config)
        yield new


@contextmanager
def started(caller: Caller, command: str, given: Given, run_dir: Path | None) -> Iterator[Pipeline]:
    """Yield the pipeline of a new run, or of the one in ``run_dir``."""
    config = resolved(caller, given, run_dir=run_dir)
    ahead = check_start(caller, config, run_dir, command=command)
    with (
        joined(config, command, run_dir, caller.registry) as ranks,
        at_work(caller, config, made_or_resumed(caller, config, run_dir), ranks, ahead=ahead) as phases,
    ):
        yield phases


@contextmanager
def started_from(caller: Caller, supernet: RunDir, given: Given, run_dir: Path | None) -> Iterator[Pipeline]:
    """Yield the pipeline of a new run that starts from an unpacked super-net, or of such a run in ``run_dir``.

    Raises `ConfigError` for settings that contradict those of the super-net, and for a run of another one.
    """
    from hnas_app.runs.super_net import called, origin_of

    for name in ("config", "preset"):
        if getattr(given, name) is not None:
            raise ConfigError(
                f"--{name} and --supernet exclude each other: {called(supernet)} brings its own settings",
                hint="change single ones by --set KEY=VALUE",
            )
    if run_dir is not None and is_made(run := RunDir(run_dir)):
        if (own := origin_of(run)) is None or own.sha256 != getattr(origin_of(supernet), "sha256", ""):
            raise ConfigError(
                f"{run_dir} is a run that does not start from {called(supernet)}",
                hint="leave --supernet out to go on with it, or give --run-dir a new folder",
            )
        with started(caller, "run", given, run_dir) as phases:
            yield phases
        return
    refuse_ranks("run")
    config = resolved(caller, given, file=supernet.config_path)
    opened = branched(caller, supernet, config, run_dir=run_dir)
    with at_work(caller, config, opened, ahead=check_start(caller, config, origin=supernet)) as phases:
        yield phases


@define(kw_only=True, slots=False)
class Asked:
    """An existing run that a command is for: its own configuration, and the one that is wanted."""

    caller: Caller
    run: RunDir
    given: Given
    own: Config
    """The run's own configuration, with those given values that results do not depend on."""
    changed: bool
    """Whether other values were given, too."""
    only_read: bool
    """Whether the run may have options that were removed since, see `load_config`."""

    @cached_property
    def wanted(self) -> Config:
        """The run's own configuration, or that with the changes that were given."""
        if not self.changed:
            return self.own
        return resolved(self.caller, self.given, file=self.run.config_path, only_read=self.only_read)

    def at_work(self, run_dir: Path | None = None) -> AbstractContextManager[Pipeline]:
        """Return the pipeline of the run, or that of a new run beside it for other settings; see `at_work`.

        With ``run_dir`` a new run is made there, whatever its settings are. Raises `ConfigError` if it is the
        environment that differs: no new run was asked for then.
        """
        from hnas_app.runs.super_net import is_unpacked

        caller, config = self.caller, self.wanted
        if config == self.own and run_dir is None and not is_unpacked(self.run):
            self.run.check_config(config, only_read=self.only_read)
            return at_work(caller, config, self.run.locked())
        opened = branched(caller, self.run, config, run_dir=run_dir)
        return at_work(caller, config, self._told(opened), ahead=check_start(caller, config, origin=self.run))

    @contextmanager
    def _told(self, opened: AbstractContextManager[RunDir]) -> Iterator[RunDir]:
        from hnas_app.runs.super_net import called, is_unpacked

        with opened as new:
            if is_unpacked(self.run) or self.wanted == self.own:
                note = f"a new run, {new.path}, starts from {called(self.run)}"
            else:
                differ = f"the settings differ from those of {self.run.path}"
                note = f"{differ}; a new run, {new.path}, starts from its super-net"
            self.caller.note(note)
            yield new


def asked(
    caller: Caller, command: str, path: Path, given: Given, *, own: Given | None = None, only_read: bool = False
) -> Asked:
    """Open a run directory for a further command; see `Asked` for ``only_read``.

    ``own`` is the part of ``given`` that the run is resolved with as it is: by default what results do not depend on.
    """
    refuse_ranks(command)
    run = RunDir.open(path)
    if is_sweep(path.parent) and not run.is_done("adapt"):
        raise DataError(
            f"{path} belongs to a sweep that is not finished: the searches of its pairs go on together",
            hint=f"finish the sweep first: hnas adapt {quoted(path.parent)}",
        )
    unchanged = own or given.same_results
    changed = given != unchanged
    config = resolved(caller, unchanged, quiet=changed, file=run.config_path, only_read=only_read)
    return Asked(caller=caller, run=run, given=given, own=config, changed=changed, only_read=only_read)


def continued(
    caller: Caller, command: str, path: Path, given: Given, run_dir: Path | None = None
) -> AbstractContextManager[Pipeline]:
    """Return the pipeline of a run for a further phase, or of a new one for other settings, or in ``run_dir``."""
    return asked(caller, command, path, given).at_work(run_dir)
