"""``hnas report``: runs and sweeps as one page for a browser, with figures for a paper."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from hnas_app.cli import completion
from hnas_app.cli.invocation import invocation
from hnas_app.cli.options import JsonOption, run_path
from hnas_app.cli.output import note, print_json, say_next


def report(
    ctx: typer.Context,
    runs: Annotated[
        list[Path],
        typer.Argument(
            metavar="RUN",
            parser=run_path,
            autocompletion=completion.runs,
            help="Run directories, finished or not, or folders of sweeps.",
        ),
    ],
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", metavar="FILE", help="The page; by default report.html in the first folder."),
    ] = None,
    figures: Annotated[
        Path | None, typer.Option("--figures", metavar="DIR", help="Write the figures there, as SVG and PDF.")
    ] = None,
    mixed: Annotated[
        bool, typer.Option("--mixed", help="Accept runs whose tasks or costs do not compare, and label them.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Write a page of runs: verdict, table, front, architecture, learning curves, search, what was run where."""
    from hnas.toolkit.codec import to_json
    from hnas_app.report.writing import write_report

    done = write_report(runs, out, figures, mixed=mixed, registry=invocation(ctx).registry)
    if as_json:
        return print_json(to_json(done))
    for name, told in done.verdicts.items():
        print(f"{name}: {told}" if len(done.verdicts) > 1 else told)
    for name, sentences in done.missing.items():
        for sentence in sentences:
            note(f"{name}: {sentence}")
    if done.without_figures:
        note(f"the page stays below 2 MB without the figures of {', '.join(done.without_figures)}")
    print(f"report: {done.path}")
    if figures:
        print(f"figures: {len(done.figures)} files in {figures}")
    say_next(done.next)
