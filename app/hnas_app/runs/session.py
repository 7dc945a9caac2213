"""Construct the plugins and start the workers that a run directory at work needs."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import attrs

from hnas.errors import ConfigError
from hnas_app.executors.this_rank import own_accelerator

if TYPE_CHECKING:
    from hnas.discovery import Kind, Registry
    from hnas.events import Listener, Tracker
    from hnas.strategy import SearchStrategy
    from hnas_app.config.schema import Config
    from hnas_app.executors.interface import Executor
    from hnas_app.runs.pipeline import Pipeline
    from hnas_app.runs.run_dir import RunDir
    from hnas_app.training.setup.setup import Setup


def chosen(kind: Kind, config: Config, registry: Registry, **overrides: Any) -> Any:
    """Construct the chosen plugin of a kind; ``overrides`` replace some of its options.

    Raises `PluginError` if that fails.
    """
    choice = getattr(config, kind)
    options = attrs.evolve(choice.options, **overrides) if overrides else choice.options
    return registry.create(kind, choice.name, options)


def setup_of(config: Config, registry: Registry) -> Setup:
    """Construct the set-up that every phase needs: the space, the learner and the tasks.

    Raises `ConfigError` if something else of ``config`` needs proposals, and the learner makes none, or if the strategy
    asks for a penalty that learner or super-net do not offer.
    """
    from hnas.seeds import Seeds
    from hnas_app.training.setup.setup import Setup

    setup = Setup(
        space=chosen("space", config, registry),
        learner=chosen("learner", config, registry),
        tasks=chosen("tasks", config, registry),
        n_way=config.task.n_way,
        k_shot=config.task.k_shot,
        train_n_way=config.meta_train.n_way,
        train_k_shot=config.meta_train.k_shot,
        seeds=Seeds(config.seed),
        accelerator=own_accelerator(config.accelerator),
        prefetch=config.accelerator != "cpu",  # on CPUs the thread takes the interpreter from the training
    )
    strategy = chosen("strategy", config, registry)
    if not setup.learner.proposes:
        _refuse_need_of_proposals(config, strategy)
    if strategy.penalty:
        _refuse_penalty(config, strategy.penalty, setup)
    return setup


def _refuse_need_of_proposals(config: Config, strategy: SearchStrategy) -> None:
    """Raise `ConfigError` that names what needs a learner which proposes architectures."""
    needs = ["evaluate.architecture=per-task"] if config.evaluate.architecture == "per-task" else []
    needs += [f"the strategy {config.strategy.name!r}"] if strategy.needs_proposals else []
    if needs:
        raise ConfigError(
            f"{' and '.join(needs)} needs architectures that the learner proposes; {config.learner.name!r} proposes "
            "none",
            hint="choose a learner that implements `MetaLearner.propose`, or other settings",
        )


def _refuse_penalty(config: Config, penalty: float, setup: Setup) -> None:
    """Raise `ConfigError` unless the learner and the super-net know what a penalty on expected costs is."""
    from hnas.supernet import SuperNet

    asked = f"the strategy {config.strategy.name!r} asks for a penalty of {penalty!r} on expected costs"
    if not 0 <= penalty < math.inf:
        raise ConfigError(f"{asked}; expected a finite number from 0 up", hint="set another penalty")
    if setup.learner.with_prices({}) is None:
        told, hint = f"the learner {config.learner.name!r} offers none (MetaLearner.with_prices)", "such as t-nas"
        raise ConfigError(f"{asked}, and {told}", hint=f"set strategy.penalty=0, or choose another learner, {hint}")
    if type(setup.supernet).prices is SuperNet.prices:
        told = f"the super-net of space {config.space.name!r} does not price its options (SuperNet.prices)"
        raise ConfigError(f"{asked}, and {told}", hint="set strategy.penalty=0, or choose another space, such as darts")


def check_branch(run: RunDir, config: Config, registry: Registry) -> None:
    """Raise `DataError` if the tasks of ``config`` do not fit a run that is to branch from ``run``."""
    from hnas_app.runs.tasks_check import DRAWING, checked

    checked(setup_of(config, registry), run, config, DRAWING[1:])


def workers_of(config: Config, notify: Callable[[str], None]) -> Executor:
    """Start the workers that a run asks for; ``notify`` is called with a sentence if one died."""
    from hnas_app.executors.choice import executor

    # A GPU is kept busy by one process. On CPUs, 0 means one per core.
    return executor(config.workers or int(config.accelerator != "cpu"), notify, config.executor)


def trackers_of(names: Sequence[str], registry: Registry) -> list[tuple[str, Tracker]]:
    """Construct the trackers that a user named, before anything is computed. Raises `PluginError`, `ConfigError`."""
    return [(name, registry.create("tracker", name)) for name in names]


def told_settings(config: Config) -> dict[str, Any]:
    """Return the settings of a run by dotted key, as trackers get them."""
    from hnas.toolkit.codec import to_json

    def flat(value: Any, prefix: str) -> Iterator[tuple[str, Any]]:
        for name, inner in value.items():
            yield from flat(inner, f"{prefix}{name}.") if isinstance(inner, dict) else [(f"{prefix}{name}", inner)]

    return dict(flat(to_json(config), ""))


def pipeline_of(
    run: RunDir,
    config: Config,
    registry: Registry,
    setup: Setup,
    executor: Executor,
    emit: Listener,
    trackers: Sequence[Listener] = (),
) -> Pipeline:
    """Construct a run's strategy, and its backend when it is needed.

    Events go to ``metrics.jsonl`` as well, and what is new there to the ``trackers``.
    """
    from hnas_app.runs.pipeline import Pipeline
    from hnas_app.runs.tasks_check import with_record
    from hnas_app.search.limits import given_network
    from hnas_app.search.loop import Given
    from hnas_app.trackers.metrics import MetricsListener
    from hnas_app.trackers.terminal import fan_out

    given = given_network(setup, config)
    return Pipeline(
        run=run,
        config=config,
        setup=with_record(setup, run, config.tasks.name),
        strategy=chosen("strategy", config, registry) if given is None else Given(given),
        open_backend=lambda: chosen("backend", config, registry),
        executor=executor,
        emit=fan_out(emit, MetricsListener(run.metrics, others=trackers)),
    )
