"""A run in a notebook: its networks as a data frame, what was found as a table, its front as a picture."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

from hnas.cost import Cost, Metric
from hnas.discovery import Registry
from hnas.errors import ConfigError, DataError, HnasError, close_matches
from hnas_app.report import html
from hnas_app.report.evidence import read
from hnas_app.report.figures.front import front
from hnas_app.report.figures.picture import Picture
from hnas_app.report.networks import table
from hnas_app.report.run_report import RunReport
from hnas_app.training.accuracy import Accuracy

if TYPE_CHECKING:
    from pandas import DataFrame

Rows = Literal["networks", "candidates"]
"""What a data frame of a run has a row for: each network of the result, or each candidate that the search scored."""


def frame(path: Path, rows: Rows, registry: Registry) -> DataFrame:
    """Return the networks of a run, or the candidates of its search, as a data frame.

    Raises `ConfigError` without pandas or for other ``rows``, and `DataError` if the run has none of these yet.
    """
    if rows not in get_args(Rows):
        raise ConfigError(
            f"rows={rows!r}.{close_matches(str(rows), get_args(Rows))} Known: {', '.join(get_args(Rows))}"
        )
    try:
        from pandas import DataFrame
    except ImportError as cause:
        hint = "pip install 'hnas[pandas]'"
        raise ConfigError(f"a data frame needs pandas, which cannot be imported: {cause}", hint=hint) from cause
    report = RunReport.of(read(path), registry)
    if found := list(_networks(report) if rows == "networks" else _candidates(report)):
        return DataFrame(found)
    hint = "evaluate() does what is still to do" if rows == "networks" else "adapt() searches"
    raise DataError(f"the run {path} has no {rows} yet{_because(report)}", hint=hint)


def _networks(report: RunReport) -> Iterator[dict[str, Any]]:
    """Yield the rows of the table that the run printed."""
    if (results := report.evidence.results) is None:
        return
    if (own := results.per_task) is not None:
        yield {"network": "per task", **_costs(own.cost, results.metrics), **_accuracy("zero_retrain", own.accuracy)}
    for n in results.networks:
        accuracies = {**_accuracy("zero_retrain", n.zero_retrain), **_accuracy("retrained", n.retrained)}
        yield {"network": n.name, **_costs(n.cost, results.metrics), **accuracies, **_options(n.options)}
    yield {"network": "nearest class mean", **_accuracy("retrained", results.baseline)}


def _candidates(report: RunReport) -> Iterator[dict[str, Any]]:
    for number, iteration in enumerate(report.evidence.iterations):
        for s in iteration:
            costs = _costs(s.cost, report.evidence.metrics)
            score = {"loss": s.loss, "at_least": s.bound, "accuracy": s.accuracy}
            told: Mapping[str, Any] = report.options(s.arch) or {"genes": s.arch.genes}
            yield {"iteration": number, **costs, **score, **_options(told)}


def _costs(cost: Cost, metrics: tuple[Metric, ...]) -> dict[str, float]:
    return {m.column: cost[m.name] for m in metrics if m.name in cost.values}


def _accuracy(name: str, found: Accuracy) -> dict[str, float | None]:
    return {name: found.mean, f"{name}_ci95": found.half_width}


def _options(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options of an architecture under names that no metric has."""
    return {f"arch.{name}": option for name, option in options.items()}


def _because(report: RunReport) -> str:
    return f": {report.evidence.missing[0]}" if report.evidence.missing else ""


def front_of(path: Path, metric: str | None, registry: Registry) -> Picture:
    """Draw accuracy against a metric, by default the one of the first limit, as the run's report does.

    Raises `ConfigError` for a metric that the run does not have, and `DataError` before a search.
    """
    report = RunReport.of(read(path), registry)
    known = {m.name: m for m in report.evidence.metrics}
    if metric is not None and known and metric not in known:
        raise ConfigError(f"metric={metric!r}.{close_matches(metric, known)} Metrics of the run: {', '.join(known)}")
    wanted = report.metric if metric is None else known.get(metric)
    limit = next((limit for limit in report.limits if limit.metric == wanted), None)
    picture = wanted and front(report.evidence, wanted, limit, report.options)
    if not picture:
        raise DataError(f"the run {path} has no front to draw yet{_because(report)}", hint="adapt() searches")
    return picture


def summary(path: Path, registry: Registry) -> str:
    """Return what a notebook shows of a run as HTML: the verdict, the table, what is still to do. Raises nothing."""
    try:
        report = RunReport.of(read(path), registry)
    except HnasError as cause:
        return f"<p>{html.text(cause)}</p>"
    e = report.evidence
    parts = [f"<p><b>{html.text(e.name)}</b> · {html.text(e.task_name)} · {html.text(e.device)}</p>"]
    parts.append(f"<p>{html.text(report.verdict)}</p>")
    parts += [html.table(*table(e.results))] if e.results else []
    return "".join([*parts, html.missing(report.missing)])
