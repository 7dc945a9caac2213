"""What the commands that run phases share: from options to a pipeline over a locked run directory."""

from __future__ import annotations

import shutil
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hnas.cli import options
from hnas.cli.invocation import Invocation
from hnas.cli.output import note
from hnas.run_dir import RunDir

if TYPE_CHECKING:
    from hnas.config.load import LoadedConfig
    from hnas.pipeline import Pipeline

SAME_RESULTS = ("workers", "accelerator", "data_root")
"""Flags that a further phase of a run may be given, because its results do not depend on them."""


@contextmanager
def started(call: Invocation, command: str, run_dir: Path | None, **flags: Any) -> Iterator[Pipeline]:
    """Yield the pipeline of a new run, or of the one in ``run_dir``. ``flags`` are those of `options.load`."""
    loaded = _load(call, run_dir=run_dir, **flags)
    if run_dir is None:
        run = RunDir.create(loaded.config)
    else:
        run, notes = RunDir.resume_or_create(run_dir, loaded.config)
        for text in notes:
            note(text)
    with _pipeline(call, loaded, run, resume=f"hnas {command} --run-dir {run.path}") as phases:
        yield phases


@contextmanager
def continued(call: Invocation, command: str, path: Path, **flags: Any) -> Iterator[Pipeline]:
    """Yield the pipeline of a run for a further phase; of a new run beside it where ``flags`` are not its settings."""
    run, loaded = _finished_run(call, path, **flags)
    with _pipeline(call, loaded, run, resume=f"hnas {command} {run.path}") as phases:
        yield phases


@contextmanager
def _pipeline(call: Invocation, loaded: LoadedConfig, run: RunDir, *, resume: str) -> Iterator[Pipeline]:
    """Yield the pipeline of a run directory, which stays locked meanwhile; workers and terminal are given back."""
    from hnas.console import MetricsListener, display, fan_out
    from hnas.executor import executor
    from hnas.pipeline import Pipeline
    from hnas.seeds import Seeds
    from hnas.setup import Setup

    config = loaded.config
    call.resume = resume
    setup = Setup(
        space=options.create(call, loaded, "space"),
        learner=options.create(call, loaded, "learner"),
        tasks=options.create(call, loaded, "tasks"),
        n_way=config.task.n_way,
        k_shot=config.task.k_shot,
        seeds=Seeds(config.seed),
        accelerator=config.accelerator,
    )
    with run.lock(), _terminated_like_interrupted():
        shown = display()
        # a GPU is kept busy by one process; without a choice of the user's there is one worker
        workers = executor(config.workers or int(config.accelerator != "cpu"), notify=note)
        setup.prefetch = config.accelerator != "cpu"  # on CPUs the thread takes the interpreter from the training
        try:
            yield Pipeline(
                run=run,
                config=config,
                setup=setup,
                strategy=options.create(call, loaded, "strategy"),
                open_backend=lambda: options.create(call, loaded, "backend"),
                executor=workers,
                emit=fan_out(shown, MetricsListener(run.metrics)),
            )
        finally:
            workers.close()
            shown.close()


def _load(call: Invocation, **flags: Any) -> LoadedConfig:
    """Resolve the options, and refuse an accelerator that is not there before anything is written."""
    from hnas.accelerator import check_accelerator

    loaded = options.load(call, **flags)
    check_accelerator(loaded.config.accelerator)
    return loaded


def _finished_run(call: Invocation, path: Path, **flags: Any) -> tuple[RunDir, LoadedConfig]:
    """Open a run directory for a further phase. Settings that differ from its own make a new run beside it.

    The new run starts from a copy of the super-net, so that neither run depends on the other.
    """
    run = RunDir.open(path)
    own = options.load(call, config=run.config_path)
    given = {k: v for k, v in flags.items() if v is not None and v != [] and k not in SAME_RESULTS}
    loaded = _load(call, config=run.config_path, **flags)
    if not given or loaded.config == own.config:
        return run, loaded
    new = RunDir.create(loaded.config, root=path.parent)
    shutil.copytree(run.checkpoints / "meta-train", new.checkpoints / "meta-train")
    new.set_phase("meta-train", "done", copied_from=str(path))
    note(f"the settings differ from those of {path}; a new run, {new.path}, starts from its super-net")
    return new, loaded


@contextmanager
def _terminated_like_interrupted() -> Iterator[None]:
    """Let a batch system's SIGTERM end a run as Ctrl-C does: resumable, and told so."""
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
