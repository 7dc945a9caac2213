"""The Python API: a whole run in one call, and earlier runs by their folder; for scripts and notebooks.

Nothing is printed, no signal handler is set, and torch's threads are given back. Progress goes to a callback, errors
are `HnasError`. It does what the command line does, in the same run directories, so either goes on with the other's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

import attrs

from hnas.backend import HardwareBackend
from hnas.errors import ConfigError, close_matches
from hnas.events import Listener
from hnas.learner import MetaLearner
from hnas.space import SearchSpace
from hnas.strategy import SearchStrategy
from hnas.task_source import TaskSource
from hnas_app.runs.run_dir import RunDir
from hnas_app.usecases.arguments import Given, PathLike, Table, absolute, absolute_if_given, explained, limits
from hnas_app.usecases.opening import at_work, check_start, made_or_resumed, resolved
from hnas_app.usecases.python_run import Run, caller_of

if TYPE_CHECKING:
    from hnas_app.report.comparison import Comparison

PhaseName = Literal["meta-train", "profile", "adapt", "retrain", "evaluate"]
PHASES: tuple[PhaseName, ...] = get_args(PhaseName)


def run(
    *,
    space: str | SearchSpace | Table | None = None,
    backend: str | HardwareBackend | Table | None = None,
    tasks: str | TaskSource | Table | None = None,
    learner: str | MetaLearner | Table | None = None,
    strategy: str | SearchStrategy | Table | None = None,
    preset: str | None = None,
    constraints: str | Sequence[str] = (),
    seed: int | None = None,
    settings: Mapping[str, Any] | None = None,
    config: PathLike | None = None,
    run_dir: PathLike | None = None,
    workers: int | None = None,
    on_event: Listener | None = None,
    until: PhaseName | None = "evaluate",
) -> Run:
    """Do a whole run as ``hnas run`` does, and return it with its results.

    A plugin is named as on the command line, or is an object that implements its interface, or a table of its options,
    as in ``{"name": "vgg9", "base_width": 32}``. ``settings`` maps dotted keys to values, as in
    ``{"search.tasks": 12}``, or sections to tables; ``config`` is a TOML file; settings that are not given come from
    there, from ``HNAS_*`` variables, the preset and the defaults. ``constraints`` must all hold.

    ``run_dir`` is a new folder, or that of an earlier run, which goes on where it stopped; by default a new one below
    ``runs/``. ``until`` names the last phase to do; with ``None`` the run is only made. ``on_event`` is called in this
    thread with every `Event`; an error that it raises ends the run, which can be resumed.

    ``workers`` is the number of worker processes: 0 for one per core, 1 for none. The default is 1, unless ``settings``
    say otherwise, since workers cannot import classes of a notebook. A script that asks for more needs
    ``if __name__ == "__main__":``.

    Raises `ConfigError` with all wrong settings at once, and any other `HnasError`.
    """
    if until is not None and until not in PHASES:
        raise ConfigError(f"until={until!r}.{close_matches(str(until), PHASES)} Phases: {', '.join(PHASES)}, or None")
    given = Given(
        space=space,
        backend=backend,
        tasks=tasks,
        learner=learner,
        strategy=strategy,
        preset=preset,
        constraints=limits(constraints) or None,
        seed=seed,
        workers=1 if workers is None and (settings or {}).get("workers") is None else workers,
        settings={k: v for k, v in (settings or {}).items() if v is not None},
        config=None if config is None else Path(config),
    )
    begun: list[Path] = []
    with explained(begun):
        caller = attrs.evolve(caller_of(given, on_event), began=begun.append)
        folder = absolute_if_given(run_dir)
        resolved_config = resolved(caller, given, run_dir=folder)
        opened = made_or_resumed(caller, resolved_config, folder, Path.cwd() / "runs")
        if until is None:
            with opened as made:
                path = made.path
        else:
            drawing = () if until == "profile" else None
            ahead = check_start(caller, resolved_config, folder, phases=drawing, command=until)
            with at_work(caller, resolved_config, opened, ahead=ahead) as phases:
                getattr(phases, until.replace("-", "_"))()
            path = phases.run.path
    again = Given(**given.objects, workers=resolved_config.workers, env={})
    return Run(path=path, given=again, on_event=on_event)


def load_run(
    path: PathLike,
    *,
    space: SearchSpace | None = None,
    backend: HardwareBackend | None = None,
    tasks: TaskSource | None = None,
    learner: MetaLearner | None = None,
    strategy: SearchStrategy | None = None,
    workers: int = 1,
    on_event: Listener | None = None,
) -> Run:
    """Return an earlier run, whether it was made by the command line or from Python.

    Its results can be read at once. To do further phases of a run that was given objects, give them again: they must be
    of the same classes, made with the same options. Raises `DataError` if ``path`` is no run directory.
    """
    with explained():
        opened = RunDir.open(absolute(path))
    given = Given(
        space=space, backend=backend, tasks=tasks, learner=learner, strategy=strategy, workers=workers, env={}
    )
    return Run(path=opened.path, given=given, on_event=on_event)


def load_supernet(name: str, *, workers: int = 1, on_event: Listener | None = None) -> Run:
    """Return a super-net that is trained already, as a run whose meta-training is done; see ``hnas supernets list``.

    It is read-only, and serves several programs at once: `Run.branch`, `Run.adapt_to` and `Run.sweep` make runs that
    start from it, in ``runs/``; its other methods raise `DataError`. ``name`` may be NAME@DISTRIBUTION.

    Raises `PluginError` for an unknown name, `DataError` if a file is missing or damaged, and `ConfigError` if it was
    trained with settings that this hnas does not know.
    """
    from hnas_app.supernets.unpacking import unpacked

    given = Given(workers=workers, env={})
    with explained():
        registry = caller_of(given, on_event).registry
        path = unpacked(registry.get("supernet", name), registry).path
    return Run(path=path.absolute(), given=given, on_event=on_event)


def compare(*runs: Run | PathLike, mixed: bool = False) -> Comparison:
    """Compare two or more runs, or the runs of sweeps, with the first one, as ``hnas compare`` does.

    Raises `ConfigError` for runs whose accuracies or costs mean different things, unless ``mixed``, and `DataError` for
    a folder that is no run.
    """
    from hnas_app.report.comparison import compared
    from hnas_app.report.evidence import read_all

    with explained():
        return compared(read_all([run.path if isinstance(run, Run) else absolute(run) for run in runs]), mixed=mixed)
