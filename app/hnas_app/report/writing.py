"""``hnas report``: runs and sweeps as one page that opens without a network, and its figures as SVG and PDF."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from attrs import frozen

from hnas.discovery import Registry
from hnas.errors import DataError, quoted
from hnas.toolkit.files import write_text
from hnas_app.report import html
from hnas_app.report.comparison import check_alike, compared, tested
from hnas_app.report.evidence import read_all
from hnas_app.report.figures.overview import Point, overview
from hnas_app.report.figures.picture import Picture, file_name
from hnas_app.report.run_report import RunReport
from hnas_app.report.verdict import next_commands

MOST_BYTES = 1_900_000
"""Figures of further runs are left out of a page of more: it stays below 2 MB."""


@frozen(kw_only=True)
class Written:
    """What was written, and what the report says first of each run."""

    path: Path
    verdicts: Mapping[str, str]
    """By the run directory's name."""
    figures: tuple[Path, ...] = ()
    missing: Mapping[str, tuple[str, ...]]
    """What the report lacks of a run, a sentence for each reason."""
    without_figures: tuple[str, ...] = ()
    """Runs whose figures were left out, since the page would have been too large."""
    next: str
    """The command that usually comes next."""
    schema: int = 1


def write_report(
    paths: Sequence[Path],
    out: Path | None = None,
    figures: Path | None = None,
    *,
    mixed: bool = False,
    registry: Registry | None = None,
) -> Written:
    """Write the report of runs, and of all runs of sweeps; by default as ``report.html`` in the first folder.

    ``figures`` is a folder for the figures as SVG and PDF. Nothing else is written, and no run is locked. Raises
    `ConfigError` for runs that do not compare, unless ``mixed``, and `DataError` for a folder that is no run, or that
    cannot be written.
    """
    runs = read_all(paths)
    path = out or paths[0] / "report.html"
    if not path.parent.is_dir() or path.is_dir():
        raise DataError(f"cannot write {path}: it is not a file in a folder that is there", hint="name another with -o")
    unlike = check_alike(runs, mixed=mixed)
    registry = registry or Registry()
    reports = [RunReport.of(run, registry) for run in runs]
    parts, files = _head(reports, unlike)
    sections, own_files, without = _sections(reports, sum(map(len, parts)), drawn=figures is not None)
    title = f"hnas: {runs[0].name}" + (f" and {len(runs) - 1} more" if len(runs) > 1 else "")
    try:
        written = [saved for name, picture in (files | own_files).items() for saved in _saved(picture, figures, name)]
        write_text(path, html.page(title, "\n".join([*parts, *sections])))
    except OSError as cause:
        what = f"cannot write {cause.filename or path}: {cause.strerror}"
        raise DataError(what, hint="name another place with -o") from cause
    compare = f"hnas compare {' '.join(map(quoted, paths))}{' --mixed' * mixed}"
    return Written(
        path=path,
        verdicts={report.evidence.name: report.verdict for report in reports},
        figures=tuple(written),
        missing={report.evidence.name: report.missing for report in reports if report.missing},
        without_figures=tuple(without),
        next=compare if len(runs) > 1 else next_commands(runs[0])[0][0],
    )


def _sections(
    reports: Sequence[RunReport], size: int, *, drawn: bool
) -> tuple[list[str], dict[str, Picture], list[str]]:
    """Return the section of each run, all figures by file, and the runs whose figures are left out.

    ``size`` is that of the page so far. Figures that are left out are ``drawn`` only if they are wanted as files.
    """
    several, parts, files, without = len(reports) > 1, list[str](), dict[str, Picture](), list[str]()
    for number, report in enumerate(reports):
        name, full = report.evidence.name, several and size > MOST_BYTES
        pictures = [] if full and not drawn else report.pictures()
        files |= {f"{file_name(name)}/{p.name}" if several else p.name: p for p in pictures}
        part = report.body(f"r{number}", pictures)
        if full or (several and size + len(part) > MOST_BYTES):
            without.append(name)
            own = html.text(f"hnas report {quoted(report.evidence.path)}")
            part = report.body(f"r{number}", []) + f"<p class=faint>Its figures are in its own report: {own}</p>"
        parts.append(f"<h2 id=run-{number}>{html.text(name)}</h2>\n{part}" if several else part)
        size += len(parts[-1])
    return parts, files, without


def _saved(picture: Picture, folder: Path | None, name: str) -> list[Path]:
    return [] if folder is None else picture.save(folder / Path(name).parent)


def _head(reports: Sequence[RunReport], unlike: Sequence[str]) -> tuple[list[str], dict[str, Picture]]:
    """Return the begin of the page; of several runs, with their pictures and the comparison."""
    first = reports[0].evidence
    if len(reports) == 1:
        about = html.text(f"{first.task_name} · {first.device}")
        return [f"<h1>{html.text(first.name)}</h1><p class=faint>{about}</p>"], {}
    rows = [
        (r.evidence.name, r.evidence.task_name, r.evidence.device, ", ".join(r.evidence.limits) or "default", r.verdict)
        for r in reports
    ]
    pictures = _overviews(reports)
    parts = [
        f"<h1>{len(reports)} runs</h1>",
        html.missing(unlike, "These runs do not compare:"),
        html.table(("run", "tasks", "device", "limits", "verdict"), rows, wrap=(0, 1, 2, 3, 4)),
        html.figures((p, f"all-{p.name}") for p in pictures),
        compared([r.evidence for r in reports], mixed=True)._repr_html_(),
    ]
    return parts, {picture.name: picture for picture in pictures}


def _overviews(reports: Sequence[RunReport]) -> list[Picture]:
    """Return a picture of tested networks, and one of chosen ones, for each kind of tasks, device and metric."""
    groups: dict[tuple[str, str, str], list[RunReport]] = {}
    for report in reports:
        if report.metric:
            key = (str(report.evidence.task), report.evidence.device, report.metric.column)
            groups.setdefault(key, []).append(report)
    found = []
    for number, ((_, device, _), members) in enumerate(groups.items()):
        metric, about = members[0].metric, f"{members[0].evidence.task_name}; {device}"
        assert metric is not None
        for tasks, points in (("test", _tested(members)), ("validation", _chosen(members))):
            name = f"{tasks}-{metric.name}-{number + 1}"
            found.append(overview(name, points, metric, tasks, about))
    return [picture for picture in found if picture]


def _tested(reports: Sequence[RunReport]) -> list[Point]:
    points = []
    for report in reports:
        e, metric = report.evidence, report.metric
        assert metric is not None
        networks = [(n.name, n.retrained, n.cost.values) for n in e.results.networks] if e.results else []
        own = tested(e)
        networks += [own[:3]] if own and own[0] == "per task" else []
        points += [
            Point(
                run=e.name,
                series=name,
                cost=cost[metric.name],
                accuracy=accuracy.mean,
                half_width=accuracy.half_width,
                limits=", ".join(e.limits),
            )
            for name, accuracy, cost in networks
        ]
    return points


def _chosen(reports: Sequence[RunReport]) -> list[Point]:
    points = []
    for report in reports:
        e, metric = report.evidence, report.metric
        if e.results is None and e.adaption and e.adaption.finalists and metric:
            chosen = e.adaption.chosen
            cost, limits = chosen.cost[metric.name], ", ".join(e.limits)
            points.append(
                Point(run=e.name, series="chosen", cost=cost, accuracy=chosen.accuracy, half_width=None, limits=limits)
            )
    return points
