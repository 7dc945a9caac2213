"""``hnas front``: what finished runs found, on one front of cost against loss, with the reference networks."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from hnas.errors import quoted
from hnas_app.cli import options
from hnas_app.cli.invocation import invocation
from hnas_app.cli.output import print_json, print_table, say_next
from hnas_app.cli.terminal import at_terminal
from hnas_app.usecases.arguments import SAME_RESULTS, Given

if TYPE_CHECKING:
    from hnas_app.fronts.scoring import Front, Network


@options.takes("metric", "by", "tasks", "out", *SAME_RESULTS)
def front(
    ctx: typer.Context,
    runs: Annotated[
        list[Path],
        typer.Argument(
            metavar="RUN...",
            parser=options.run_path,
            help="Run directories with a finished search, or folders of sweeps.",
        ),
    ],
    given: Given,
    metric: Annotated[
        str | None, typer.Option("--metric", metavar="NAME", help="Cost on the front; by default the backend's first.")
    ] = None,
    by: Annotated[Literal["loss", "error"], typer.Option("--by", help="The other axis of the front.")] = "loss",
    tasks: Annotated[int, typer.Option("--tasks", min=2, help="Validation tasks to score every network on.")] = 200,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", "-o", metavar="FILE", help="Picture, .png or .svg; by default front.png in the first RUN."
        ),
    ] = None,
    as_json: options.JsonOption = False,
) -> None:
    """Compare networks of runs on common tasks: fronts by strategy, hypervolumes, the reference networks.

    The runs must share one super-net. On each device, the candidates of each strategy's runs make one front.
    """
    from hnas.toolkit.codec import to_json
    from hnas_app.usecases.front import front as compare

    with at_terminal(invocation(ctx), "hnas front {}") as caller:
        done = compare(caller, runs, given, metric=metric, by=by, tasks=tasks, picture=out)
    if as_json:
        return print_json(to_json(done))
    for found in done.fronts:
        _show(found)
    print(f"{done.protocol}\npicture: {done.picture}")
    say_next(f"hnas retrain {quoted(done.fronts[0].series[0].runs[0])} --pick NUMBER")


def _pick(network: Network, runs: Sequence[str]) -> str:
    """Return the number for ``--pick``; with the letter of its run, if there are several."""
    return next((f"{letter(runs.index(r))}{n}" if len(runs) > 1 else str(n) for r, n in network.picks.items()), "")


def letter(place: int) -> str:
    """Return a short name of a run by its place: A to Z, then 27: and so on."""
    return chr(ord("A") + place) if place < 26 else f"{place + 1}:"


def _show(front: Front) -> None:
    """Print one device's networks, cheapest first within each series, and the hypervolumes."""
    from hnas_app.costs.amounts import column
    from hnas_app.report.networks import describe

    print(front.device)
    runs = [run for series in front.series for run in series.runs]
    for place, run in enumerate(runs if len(runs) > 1 else ()):
        print(f"{letter(place)}: {run}")
    found = [(s.strategy, n) for s in front.series for n in s.front] + [*front.references.items()]
    head, costs = column(front.metric.column, [n.cost for _, n in found])
    rows = [
        [name, _pick(n, runs), cost, f"{n.loss:.4f}", str(n.accuracy), describe(n.options)]
        for (name, n), cost in zip(found, costs, strict=True)
    ]
    print_table(("network", "#", head, "loss", "accuracy", "architecture"), rows)
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
