"""``hnas front``: what finished runs found, on one front of cost against loss, with the reference networks."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from hnas_app.cli import options
from hnas_app.cli.invocation import invocation
from hnas_app.cli.output import note, print_json, print_table, say_next

if TYPE_CHECKING:
    from hnas_app.fronts.scoring import Front


def front(
    ctx: typer.Context,
    runs: Annotated[
        list[Path],
        typer.Argument(metavar="RUN...", help="Run directories with a finished search, or folders of sweeps."),
    ],
    metric: Annotated[
        str | None, typer.Option("--metric", metavar="NAME", help="Cost on the front; by default the backend's first.")
    ] = None,
    by: Annotated[Literal["loss", "error"], typer.Option("--by", help="What is set against it.")] = "loss",
    tasks: Annotated[int, typer.Option("--tasks", min=2, help="Validation tasks that all are scored on.")] = 200,
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="FILE", help="Picture, .png or .svg; by default front.png in the first RUN."),
    ] = None,
    workers: options.WorkersOption = None,
    executor: options.ExecutorOption = None,
    accelerator: options.AcceleratorOption = None,
    data_root: options.DataRootOption = None,
    as_json: options.JsonOption = False,
) -> None:
    """Compare what runs found on common tasks: fronts by strategy, hypervolumes, the reference networks.

    The runs must share one super-net. On each device, the candidates of each strategy's runs make one front.
    """
    from hnas.toolkit.codec import to_json
    from hnas_app.cli.phases import continued
    from hnas_app.fronts.plot import plot_fronts
    from hnas_app.fronts.runs import by_device, check_one_supernet, find_runs, read_run
    from hnas_app.fronts.scoring import front_of, score_all

    picture = _picture(out or runs[0] / "front.png")
    finished = [read_run(path) for path in find_runs(runs)]
    check_one_supernet(finished)
    groups = by_device(finished, metric)
    flags = {"workers": workers, "executor": executor, "accelerator": accelerator, "data_root": data_root}
    with continued(invocation(ctx), "front", finished[0].path, **flags) as phases:
        setup, n_query = phases.setup, phases.config.evaluate.n_query
        archs = dict.fromkeys(a for m, group in groups for r in group for a in r.candidates(m.name))
        archs |= dict.fromkeys(setup.space.references().values())
        note(f"scoring {len(archs)} networks on {tasks} validation tasks, with the super-net's weights")
        scores = score_all(setup, phases.meta_train(), archs, phases.executor, tasks=tasks, n_query=n_query)
    fronts = [front_of(setup, m, group, scores, by) for m, group in groups]
    try:
        plot_fronts(fronts, picture)
    except OSError as cause:
        raise typer.BadParameter(f"cannot write {picture}: {cause.strerror}", param_hint="--out") from cause
    protocol = (
        f"{setup.n_way}-way {setup.k_shot}-shot, {tasks} validation tasks with {n_query} query images per class, the "
        "super-net's weights (zero-retrain), one model; mean ± 95 % confidence interval over tasks"
    )
    if as_json:
        return print_json(
            {"schema": 1, "protocol": protocol, "picture": str(picture), "fronts": [to_json(f) for f in fronts]}
        )
    for found in fronts:
        _show(found)
    print(f"{protocol}\npicture: {picture}")
    say_next(f"hnas retrain {finished[0].path}")


def _picture(path: Path) -> Path:
    """Refuse a picture that could not be written before minutes of scoring."""
    if path.suffix.lower() not in (".png", ".svg"):
        raise typer.BadParameter(f"{path} is neither .png nor .svg", param_hint="--out")
    if not path.parent.is_dir():
        raise typer.BadParameter(f"{path.parent} is not a folder", param_hint="--out")
    return path


def _show(front: Front) -> None:
    """Print one device's networks, cheapest first within each series, and the hypervolumes."""
    from hnas_app.fronts.scoring import Network
    from hnas_app.report.networks import describe

    def row(name: str, n: Network) -> list[str]:
        return [name, f"{n.cost:,.5g}", f"{n.loss:.4f}", str(n.accuracy), describe(n.options)]

    print(front.device)
    rows = [row(s.strategy, n) for s in front.series for n in s.front]
    rows += [row(name, n) for name, n in front.references.items()]
    print_table(("network", front.metric.column, "loss", "accuracy", "architecture"), rows)
    cost, worth = front.reference_point
    print(f"\nhypervolume up to {front.metric.column} {cost:.5g} and {front.by} {worth:.4g}")
    volumes = [
        [s.strategy, len(s.runs), s.candidates, len(s.front), f"{s.hypervolume:.5g}", f"{100 * s.share:.2f} %"]
        for s in front.series
    ]
    print_table(("series", "runs", "candidates", "on the front", "hypervolume", "share"), volumes)
    if len(front.series) > 1:
        print(f"all together: {front.together:.5g}")
    print()
