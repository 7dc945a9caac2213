"""A run directory at work: locked, its plugins constructed, its workers started."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from hnas_app.executors.this_rank import own_accelerator
from hnas_app.runs.chosen import chosen

if TYPE_CHECKING:
    from hnas.discovery import Registry
    from hnas.events import Listener
    from hnas_app.config.schema import Config
    from hnas_app.executors.interface import Executor
    from hnas_app.runs.pipeline import Pipeline
    from hnas_app.runs.run_dir import RunDir
    from hnas_app.training.setup.setup import Setup


@contextmanager
def session(
    run: RunDir,
    config: Config,
    registry: Registry,
    *,
    emit: Listener,
    notify: Callable[[str], None],
    workers: Executor | None = None,
) -> Iterator[Pipeline]:
    """Yield the pipeline of a run directory, which stays locked meanwhile; workers are given back at the end.

    ``workers`` are there where the caller has started them, as a group of ranks must be before the directory is made.

    Events go to ``emit`` and to ``metrics.jsonl``; ``notify`` is told in a sentence of a worker that died. Raises
    `PluginError` for a plugin that cannot be constructed, and `DataError` where another process is in the directory.
    """
    setup = setup_of(config, registry)
    with run.lock(), workers or workers_of(config, notify) as started:
        yield pipeline_of(run, config, registry, setup, started, emit)


def setup_of(config: Config, registry: Registry) -> Setup:
    """Construct what every phase needs: the space, the learner and the tasks."""
    from hnas.seeds import Seeds
    from hnas_app.training.setup.setup import Setup

    return Setup(
        space=chosen("space", config, registry),
        learner=chosen("learner", config, registry),
        tasks=chosen("tasks", config, registry),
        n_way=config.task.n_way,
        k_shot=config.task.k_shot,
        seeds=Seeds(config.seed),
        accelerator=own_accelerator(config.accelerator),
        prefetch=config.accelerator != "cpu",  # on CPUs the thread takes the interpreter from the training
    )


def workers_of(config: Config, notify: Callable[[str], None] | None = None) -> Executor:
    """Start the workers that a run asks for. Raises `ConfigError` where its executor cannot be had."""
    from hnas_app.executors.choice import check_executor, executor

    check_executor(config.executor, config.accelerator)
    return executor(worker_count(config), notify, config.executor)


def worker_count(config: Config) -> int:
    """Return how many workers a run asks for; 0 means one per core."""
    # a GPU is kept busy by one process; without a choice of the user's there is one worker
    return config.workers or int(config.accelerator != "cpu")


def pipeline_of(
    run: RunDir, config: Config, registry: Registry, setup: Setup, executor: Executor, emit: Listener
) -> Pipeline:
    """Construct a run's strategy, and its backend when it is needed; events go to ``metrics.jsonl`` as well."""
    from hnas_app.runs.pipeline import Pipeline
    from hnas_app.trackers.terminal import MetricsListener, fan_out

    return Pipeline(
        run=run,
        config=config,
        setup=setup,
        strategy=chosen("strategy", config, registry),
        open_backend=lambda: chosen("backend", config, registry),
        executor=executor,
        emit=fan_out(emit, MetricsListener(run.metrics)),
    )
