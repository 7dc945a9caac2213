"""A run directory opened for work: made, resumed or branched; its configuration is resolved once."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Unpack

from attrs import define

from hnas.errors import DataError, quoted
from hnas_app.runs.run_dir import RunDir, is_sweep
from hnas_app.usecases.arguments import Caller, Given, Sources
from hnas_app.usecases.ranks import joined, refuse_ranks

if TYPE_CHECKING:
    from hnas_app.config.schema import Config
    from hnas_app.executors.interface import Executor
    from hnas_app.runs.pipeline import Pipeline


@contextmanager
def at_work(caller: Caller, run: RunDir, config: Config, workers: Executor | None = None) -> Iterator[Pipeline]:
    """Yield the pipeline of a run directory, which stays locked meanwhile; workers are given back at the end.

    ``workers`` are given if the caller has started them, as a group of ranks must be before the directory is made.
    Events go to the caller and to ``metrics.jsonl``. Raises `PluginError` for a plugin that cannot be constructed, and
    `DataError` if another process is in the directory.
    """
    from hnas_app.runs.session import pipeline_of, setup_of, workers_of

    caller.began(run.path)
    note_unchecked(caller, run)
    setup = setup_of(config, caller.registry)
    with run.lock(), workers or workers_of(config, caller.note) as started:
        yield pipeline_of(run, config, caller.registry, setup, started, caller.emit)


def note_unchecked(caller: Caller, run: RunDir) -> None:
    """Tell the caller if the records of a run have no checksums."""
    if run.is_unchecked:
        caller.note(f"{run.path} was made by an older hnas: its records have no checksums, and are read unchecked")


def resolved(caller: Caller, given: Given, *, quiet: bool = False, **sources: Unpack[Sources]) -> Config:
    """Resolve the configuration of a run, and raise before anything is written if it cannot work here.

    The accelerator and the executor must be available, and workers must be able to import the objects.
    """
    from hnas_app.executors.choice import check_executor
    from hnas_app.training.accelerator import check_accelerator

    config = caller.load(given, quiet=quiet, **sources).config
    check_accelerator(config.accelerator)
    check_executor(config.executor, config.accelerator)
    given.check_importable()
    return config


def made_or_resumed(caller: Caller, config: Config, run_dir: Path | None, root: Path = Path("runs")) -> RunDir:
    """Open the run in ``run_dir``, or make it there; without a name it is made below ``root``."""
    if run_dir is None:
        return RunDir.create(config, root=root)
    run, notes = RunDir.resume_or_create(run_dir, config)
    for text in notes:
        caller.note(text)
    return run


@contextmanager
def started(caller: Caller, command: str, given: Given, run_dir: Path | None) -> Iterator[Pipeline]:
    """Yield the pipeline of a new run, or of the one in ``run_dir``."""
    config = resolved(caller, given, run_dir=run_dir)
    with (
        joined(config, command, run_dir, caller.registry) as ranks,
        at_work(caller, made_or_resumed(caller, config, run_dir), config, ranks) as phases,
    ):
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

    def at_work(self) -> AbstractContextManager[Pipeline]:
        """Return the pipeline of the run, or that of a new run beside it for other settings; see `at_work`.

        Raises `ConfigError` if it is the environment that differs: no new run was asked for then.
        """
        from hnas_app.runs.session import check_branch

        run, path = self.run, self.run.path
        if self.wanted == self.own:
            run.check_config(self.wanted, only_read=self.only_read)
        else:
            check_branch(run, self.wanted, self.caller.registry)
            run = run.branch(self.wanted)
            note = f"the settings differ from those of {path}; a new run, {run.path}, starts from its super-net"
            self.caller.note(note)
        return at_work(self.caller, run, self.wanted)


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


def continued(caller: Caller, command: str, path: Path, given: Given) -> AbstractContextManager[Pipeline]:
    """Return the pipeline of a run for a further phase, or of a new run beside it if ``given`` differs."""
    return asked(caller, command, path, given).at_work()
