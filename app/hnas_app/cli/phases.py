"""What the commands that run phases share: from options to a pipeline over a locked run directory."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hnas.errors import DataError
from hnas_app.cli import options
from hnas_app.cli.invocation import Invocation
from hnas_app.cli.output import note
from hnas_app.cli.ranks import joined, refuse_ranks
from hnas_app.runs.run_dir import RunDir, is_sweep

if TYPE_CHECKING:
    from hnas_app.config.schema import LoadedConfig
    from hnas_app.executors.interface import Executor
    from hnas_app.runs.pipeline import Pipeline

SAME_RESULTS = ("workers", "executor", "accelerator", "data_root")
"""Flags that a further phase of a run may be given, because its results do not depend on them."""

ONLY_READ = ("export",)
"""Commands that may be given a run with removed options, see `load_config`."""


@contextmanager
def started(call: Invocation, command: str, run_dir: Path | None, **flags: Any) -> Iterator[Pipeline]:
    """Yield the pipeline of a new run, or of the one in ``run_dir``. ``flags`` are those of `options.load`."""
    loaded = load_checked(call, run_dir=run_dir, **flags)
    with joined(loaded.config, command, run_dir) as ranks:
        if run_dir is None:
            run = RunDir.create(loaded.config)
        else:
            run, notes = RunDir.resume_or_create(run_dir, loaded.config)
            for text in notes:
                note(text)
        with _pipeline(call, loaded, run, resume=f"hnas {command} --run-dir {run.path}", workers=ranks) as phases:
            yield phases


@contextmanager
def continued(call: Invocation, command: str, path: Path, **flags: Any) -> Iterator[Pipeline]:
    """Yield the pipeline of a run for a further phase; of a new run beside it where ``flags`` are not its settings."""
    refuse_ranks(command)
    run, loaded = _finished_run(call, path, command in ONLY_READ, **flags)
    with _pipeline(call, loaded, run, resume=f"hnas {command} {run.path}") as phases:
        yield phases


@contextmanager
def _pipeline(
    call: Invocation, loaded: LoadedConfig, run: RunDir, *, resume: str, workers: Executor | None = None
) -> Iterator[Pipeline]:
    """Yield the pipeline of a run directory with its progress on the terminal, which is given back at the end."""
    from hnas_app.runs.session import session
    from hnas_app.trackers.terminal import display

    call.resume = resume
    with (
        terminated_like_interrupted(),
        closing(display()) as shown,
        session(run, loaded.config, call.registry, emit=shown, notify=note, workers=workers) as phases,
    ):
        yield phases


def load_checked(call: Invocation, **flags: Any) -> LoadedConfig:
    """Resolve the options, and refuse an accelerator or executor that is not there before anything is written."""
    from hnas_app.executors.choice import check_executor
    from hnas_app.training.accelerator import check_accelerator

    loaded = options.load(call, **flags)
    check_accelerator(loaded.config.accelerator)
    check_executor(loaded.config.executor, loaded.config.accelerator)
    return loaded


def _finished_run(call: Invocation, path: Path, only_read: bool, **flags: Any) -> tuple[RunDir, LoadedConfig]:
    """Open a run directory for a further phase. Flags that differ from its settings make a new run beside it.

    Raises `ConfigError` where it is the environment that differs: no new run was asked for then.
    """
    run = RunDir.open(path)
    if is_sweep(path.parent) and not run.is_done("adapt"):
        raise DataError(
            f"{path} belongs to a sweep that is not finished: the searches of its pairs go on together",
            hint=f"finish the sweep first: hnas adapt {path.parent}",
        )
    own = options.load(call, config=run.config_path, only_read=only_read)
    given = {k: v for k, v in flags.items() if v is not None and v != [] and k not in SAME_RESULTS}
    loaded = load_checked(call, config=run.config_path, only_read=only_read, **flags)
    if not given or loaded.config == own.config:
        run.check_config(loaded.config, only_read=only_read)
        return run, loaded
    new = run.branch(loaded.config)
    note(f"the settings differ from those of {path}; a new run, {new.path}, starts from its super-net")
    return new, loaded


@contextmanager
def terminated_like_interrupted() -> Iterator[None]:
    """Let a batch system's SIGTERM end a run as Ctrl-C does: resumable, and told so."""
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
