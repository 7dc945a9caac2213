"""Finished runs on one front of cost against loss, with the reference networks."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from attrs import frozen

from hnas_app.fronts.scoring import By, Front, front_of, score_all
from hnas_app.runs.run_dir import RunDir
from hnas_app.training.accuracy import interval_over
from hnas_app.usecases.arguments import Caller, Given, WrongArgument, check_writable
from hnas_app.usecases.opening import continued, note_unchecked


@frozen(kw_only=True)
class Fronts:
    """The fronts of finished runs, one for each device, and the picture of them."""

    schema: int = 1
    protocol: str
    """How the networks were scored."""
    picture: Path
    fronts: tuple[Front, ...]


def front(
    caller: Caller,
    runs: Sequence[Path],
    given: Given,
    *,
    metric: str | None = None,
    by: By = "loss",
    tasks: int = 200,
    picture: Path | None = None,
) -> Fronts:
    """Score the networks that runs found on common validation tasks, and draw fronts by device and strategy.

    ``runs`` are run directories with a finished search, or folders of sweeps; they must share one super-net. By default
    the costs are those of the backend's first metric, and the picture is ``front.png`` in the first run. Raises
    `ConfigError` for runs that do not compare, and `DataError` for those that have no finished search.
    """
    from hnas_app.fronts.plot import plot_fronts
    from hnas_app.fronts.runs import by_device, check_one_supernet, find_runs, read_run

    picture = picture or runs[0] / "front.png"
    check_writable(picture, "picture", (".png", ".svg"))
    finished = [read_run(path) for path in find_runs(runs)]
    for run in finished[1:]:  # `continued` does it for the first
        note_unchecked(caller, RunDir(run.path))
    check_one_supernet(finished)
    groups = by_device(finished, metric)
    with continued(caller, "front", finished[0].path, given) as phases:
        setup, n_query = phases.setup, phases.config.evaluate.n_query
        archs = dict.fromkeys(a for m, group in groups for r in group for a in r.candidates(m.name))
        archs |= dict.fromkeys(setup.space.references().values())
        caller.note(f"scoring {len(archs)} networks on {tasks} validation tasks, with the super-net's weights")
        scores = score_all(setup, phases.meta_train(), archs, phases.executor, tasks=tasks, n_query=n_query)
    fronts = tuple(front_of(setup, m, group, scores, by) for m, group in groups)
    try:
        plot_fronts(fronts, picture)
    except OSError as cause:
        raise WrongArgument("picture", f"cannot write {picture}: {cause.strerror}") from cause
    protocol = (
        f"{setup.n_way}-way {setup.k_shot}-shot, {tasks} validation tasks with {n_query} query images per class, the "
        f"super-net's weights (zero-retrain), one model; {interval_over(tasks)}"
    )
    return Fronts(protocol=protocol, picture=picture, fronts=fronts)
