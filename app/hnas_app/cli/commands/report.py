"""Runs beside each other: ``hnas report``, a page for a browser with figures for a paper, and ``hnas compare``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hnas.errors import quoted, shown
from hnas_app.cli.invocation import invocation
from hnas_app.cli.options import JsonOption, run_argument
from hnas_app.cli.output import note, print_json, print_table, say_next

if TYPE_CHECKING:
    from hnas_app.report.comparison import Comparison

MixedOption = Annotated[
    bool, typer.Option("--mixed", help="Accept runs whose tasks or costs do not compare, and label them.")
]


def report(
    ctx: typer.Context,
    runs: Annotated[list[Path], run_argument("Run directories, finished or not, or folders of sweeps.")],
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", metavar="FILE", help="The page; by default report.html in the first folder."),
    ] = None,
    figures: Annotated[
        Path | None, typer.Option("--figures", metavar="DIR", help="Write the figures there, as SVG and PDF.")
    ] = None,
    mixed: MixedOption = False,
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


def compare(
    runs: Annotated[list[Path], run_argument("Run directories, or folders of sweeps; the first is the base.")],
    mixed: MixedOption = False,
    as_json: JsonOption = False,
) -> None:
    """Compare runs: settings that differ, results beside each other, differences on the same test tasks."""
    from hnas.toolkit.codec import to_json
    from hnas_app.report.comparison import compared
    from hnas_app.report.evidence import read_all

    done = compared(read_all(runs), mixed=mixed)
    if as_json:
        return print_json(to_json(done))
    for sentence in done.mixed:
        note(f"these runs do not compare: {sentence}")
    _show(done)
    say_next(f"hnas report {' '.join(quoted(run) for run in runs)}{' --mixed' * mixed}")


def _show(done: Comparison) -> None:
    letters = [chr(ord("A") + i) if i < 26 else f"#{i + 1}" for i in range(len(done.runs))]  # names are long
    by_name = dict(zip((run.name for run in done.runs), letters, strict=True))
    for letter, run in zip(letters, done.runs, strict=True):
        print(f"{letter}: {run.path}" + (f" ({run.problem})" if run.problem else ""))
    print("\nsettings that differ")
    settings = [(key, *("" if v is None else _text(v) for v in told)) for key, told in done.settings.items()]
    print_table(("setting", *letters), settings or [("none", *("" for _ in letters))])
    columns = dict.fromkeys(column for run in done.runs for column in run.cost)
    about = {
        "tasks": [run.task for run in done.runs],
        "device": [run.device for run in done.runs],
        "limits": [", ".join(run.limits) or "default" for run in done.runs],
    }
    shared = [name for name, told in about.items() if len(set(told)) == 1]  # once, since columns are narrow
    rows = [
        *((name, *told) for name, told in about.items() if name not in shared),
        *((c, *(_number(run.cost[c]) if c in run.cost else "" for run in done.runs)) for c in columns),
        *_inferences(done),
        ("test accuracy, zero-retrain", *(run.zero_retrain or "" for run in done.runs)),
        ("test accuracy, re-trained", *(run.accuracy or "" for run in done.runs)),
    ]
    print("\nresults")
    for name in shared:
        print(f"{name} of all: {shown(about[name][0])}")
    print_table(("", *letters), rows)
    print("\ndifference in test accuracy over A, with 95 % intervals")
    told = [(by_name[d.run], d.gain or "none", d.gain.words if d.gain else "", d.note) for d in done.differences]
    print_table(("run", "difference", "", "how"), told)


def _inferences(done: Comparison) -> list[tuple[str, ...]]:
    """Return the rows of what a prediction takes, unless it is a single pass in all runs."""
    from hnas.learner import Inference
    from hnas_app.report.networks import inference_cells

    if all(run.inference == Inference() for run in done.runs):
        return []
    cells = [inference_cells(run.inference) if run.network else ("", "") for run in done.runs]
    return list(zip(("inference", "stored_B"), *cells, strict=True))


def _text(value: object) -> str:
    return ", ".join(map(str, value)) if isinstance(value, tuple) else str(value)


def _number(value: float) -> str:
    return f"{value:,.0f}" if value.is_integer() else f"{value:.4g}"
