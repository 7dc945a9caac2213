"""A whole run, and its phases one by one: ``hnas run``, ``meta-train``, ``adapt``, ``retrain`` and ``evaluate``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from attrs import frozen

from hnas_app.usecases.arguments import Caller, Given
from hnas_app.usecases.opening import continued, started, started_from

if TYPE_CHECKING:
    from hnas.cost import Metric
    from hnas.space import SearchSpace
    from hnas_app.costs.limits import Limit
    from hnas_app.runs.pipeline import Pipeline
    from hnas_app.runs.results import Results
    from hnas_app.runs.run_dir import RunDir
    from hnas_app.search.adapt import Adaption


@frozen(kw_only=True)
class Evaluated:
    """A run that is done: its results, and what its search found."""

    run: Path
    results: Results
    adaption: Adaption | None
    """``None`` if each test task had an architecture of its own, so that nothing was searched for."""
    limits: tuple[Limit, ...]
    picture: Path | None
    """The last population, cost against loss."""


@frozen(kw_only=True)
class Adapted:
    """A run whose search is done."""

    run: Path
    adaption: Adaption
    metrics: tuple[Metric, ...]
    limits: tuple[Limit, ...]
    space: SearchSpace


def whole_run(
    caller: Caller, given: Given, *, run_dir: Path | None = None, supernet: RunDir | None = None
) -> Evaluated:
    """Do all phases of a new run, or those that the one in ``run_dir`` still lacks.

    A new run starts from ``supernet`` if an unpacked one is given, and skips the training.
    """
    if supernet is None:
        opened = started(caller, "run", given, run_dir)
    else:
        opened = started_from(caller, supernet, given, run_dir)
    with opened as phases:
        return _evaluated(caller, phases)


def meta_train(caller: Caller, given: Given, *, run_dir: Path | None = None) -> Path:
    """Train a super-net, and return its run directory."""
    with started(caller, "meta-train", given, run_dir) as phases:
        phases.meta_train()
        return phases.run.path


def adapt(caller: Caller, path: Path, given: Given) -> Adapted:
    """Search for the device and the limits of a run, or for other ones with its super-net, in a run beside it."""
    with continued(caller, "adapt", path, given) as phases:
        return Adapted(
            run=phases.run.path,
            adaption=phases.adapt(),
            metrics=phases.profile().metrics,
            limits=phases.limits,
            space=phases.setup.space,
        )


def retrain(caller: Caller, path: Path, given: Given) -> dict[str, Path]:
    """Train each network of a run alone, and return its folder of checkpoints by its name."""
    with continued(caller, "retrain", path, given) as phases:
        trained, alone = phases.retrain(), phases.alone
        return {name: alone.folder(trained_as) for name, (trained_as, _) in alone.names().items() if name in trained}


def evaluate(caller: Caller, path: Path, given: Given) -> Evaluated:
    """Test the networks of a run, after earlier phases that are still to do."""
    with continued(caller, "evaluate", path, given) as phases:
        return _evaluated(caller, phases)


def _evaluated(caller: Caller, phases: Pipeline) -> Evaluated:
    """Test the networks, and draw the last population; results are more than a picture for which there is no room."""
    from hnas_app.report.networks import plot_population

    results = phases.evaluate()
    if results.per_task is not None:
        return Evaluated(run=phases.run.path, results=results, adaption=None, limits=phases.limits, picture=None)
    adaption, metric = phases.adapt(), results.metrics[0]
    limit = next((limit.value for limit in phases.limits if limit.metric == metric), None)
    picture = phases.run.path / "pareto.png"
    try:
        plot_population(adaption, results, metric, limit, picture)
    except OSError as cause:
        caller.note(f"cannot write {picture}: {cause.strerror or cause}")
    return Evaluated(run=phases.run.path, results=results, adaption=adaption, limits=phases.limits, picture=picture)
