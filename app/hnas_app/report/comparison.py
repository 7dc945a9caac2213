"""Runs beside each other: the settings that differ, the results, and the differences on the same test tasks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from attrs import field, frozen

from hnas.cost import Metric
from hnas.errors import ConfigError, first_few
from hnas.learner import Inference
from hnas_app.report import html
from hnas_app.report.evidence import Evidence
from hnas_app.report.verdict import Gain, gain
from hnas_app.runs.results import NetworkResult
from hnas_app.training.accuracy import Accuracy

UNRELATED = ("workers", "executor", "tasks.root")
"""Settings that results do not depend on: they are not listed as differences."""
SAME, OTHER, UNKNOWN = "same", "other", "unknown"


@frozen(kw_only=True)
class Compared:
    """One run of a comparison."""

    name: str
    path: str
    task: str
    device: str
    limits: tuple[str, ...]
    network: str
    """The network that is compared: ``found``, or ``per task``; empty before a test."""
    cost: Mapping[str, float]
    """Of that network, by metric with its unit."""
    zero_retrain: Accuracy | None
    accuracy: Accuracy | None
    """Over test tasks: of the network trained alone, or with ``per task`` of the super-net's weights."""
    problem: str = ""
    """Why there is no result."""
    inference: Inference = field(factory=Inference)
    """What a prediction of that network takes; ``cost`` counts it."""


@frozen(kw_only=True)
class Difference:
    """How much better a run's network is than that of the first run, on test tasks."""

    run: str
    over: str
    gain: Gain | None
    tasks: str
    """``same`` test tasks; ``other`` ones of the same kind; ``unknown`` for a run of an earlier hnas."""
    note: str
    """What this says about the difference, or why there is none."""


@frozen(kw_only=True)
class Comparison:
    """Runs beside each other, the first one first."""

    runs: tuple[Compared, ...]
    settings: Mapping[str, tuple[Any, ...]]
    """Settings that differ by dotted key, the value of each run in turn; ``None`` for a run that lacks it."""
    differences: tuple[Difference, ...]
    mixed: tuple[str, ...] = ()
    """What makes the runs incomparable, a sentence for each; empty unless it was asked to mix them."""
    schema: int = 1

    def _repr_html_(self) -> str:
        """Return the differences and the settings, for notebooks and as a part of a page."""
        names = [run.name for run in self.runs]
        settings = [(key, *("" if value is None else value for value in told)) for key, told in self.settings.items()]
        rows = [(d.run, d.gain or "", d.gain.words if d.gain else "", d.note) for d in self.differences]
        head = ("run", f"over {names[0]}", "", "how")
        return (
            f"<h2>Differences in test accuracy</h2>{html.table(head, rows, wrap=(3,))}"
            f"{html.hidden('settings that differ', html.table(('setting', *names), settings))}"
        )


def compared(runs: Sequence[Evidence], *, mixed: bool = False) -> Comparison:
    """Compare runs with the first of them.

    Raises `ConfigError` for less than two, and, unless ``mixed``, for accuracies or costs that mean different things.
    """
    if len(runs) < 2:
        raise ConfigError(
            f"{len(runs)} run is given; a comparison needs two",
            hint="`hnas runs` lists them; a sweep counts as its runs",
        )
    unlike = check_alike(runs, mixed=mixed)
    rows = tuple(_row(run) for run in runs)
    return Comparison(
        runs=rows,
        settings=differing(runs),
        differences=tuple(_difference(runs[0], run, rows[0], row) for run, row in zip(runs[1:], rows[1:], strict=True)),
        mixed=tuple(unlike),
    )


def check_alike(runs: Sequence[Evidence], *, mixed: bool) -> list[str]:
    """Return what makes accuracies or costs of runs incomparable. Raises `ConfigError` for any, unless ``mixed``."""
    first, found = runs[0], list[str]()
    for run in runs[1:]:
        found += [f"{run.name}: {why} in {first.name}" for why in (*_other_task(first, run), *_other_costs(first, run))]
    if found and not mixed:
        listed = first_few(found, most=8, separator="\n")
        raise ConfigError(
            f"these runs do not compare:\n{listed}",
            hint="give runs of one kind of tasks; or --mixed, which shows them beside each other, labelled",
        )
    return found


def differing(runs: Sequence[Evidence]) -> dict[str, tuple[Any, ...]]:
    """Return the settings that differ; options of a plugin that a run does not use are left out."""
    keys = dict.fromkeys(key for run in runs for key in run.config if key not in UNRELATED)
    values = {key: tuple(_plain(run.config.get(key)) for run in runs) for key in keys}
    return {key: told for key, told in values.items() if any(value != told[0] for value in told)}


def _plain(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def _other_task(first: Evidence, run: Evidence) -> list[str]:
    """Return the settings of the tasks that differ; an older run may lack an option."""
    a, b = first.task, run.task
    return [f"{k} is {b[k]!r}, but it is {a[k]!r}" for k in a if k in b and a[k] != b[k]]


def _other_costs(first: Evidence, run: Evidence) -> list[str]:
    """Return the metrics of one name that are defined otherwise, such as another count of MACs."""
    known = {m.name: m for m in first.metrics}
    return [
        f"{m.name} is {_definition(m)}, but it is {_definition(known[m.name])}"
        for m in run.metrics
        if m.name in known and _definition(m) != _definition(known[m.name]) and _same_backend(first, run, m.name)
    ]


def _definition(metric: Metric) -> str:
    unit = f" in {metric.unit}" if metric.unit else ""
    return f"{metric.help or 'a count without a definition'!r}{unit}, by {metric.combine}"


def _same_backend(first: Evidence, run: Evidence, metric: str) -> bool:
    """Whether one meaning is expected: that of a count always, that of a measurement on one backend."""
    return metric in ("params", "macs") or first.config.get("backend.name") == run.config.get("backend.name")


def _row(run: Evidence) -> Compared:
    found = tested(run)
    name, accuracy, cost, zero = found or ("", None, {}, None)
    columns = {m.column: cost[m.name] for m in run.metrics if m.name in cost}
    networks = run.results.networks if run.results else ()
    return Compared(
        name=run.name,
        path=str(run.path),
        task=run.task_name,
        device=run.device,
        limits=run.limits,
        network=name,
        cost=columns,
        zero_retrain=zero,
        accuracy=accuracy,
        problem="" if found else (run.missing[0] if run.missing else "it was not tested"),
        inference=next((n.inference for n in networks if n.name == name), Inference()),
    )


def tested(run: Evidence) -> tuple[str, Accuracy, Mapping[str, float], Accuracy | None] | None:
    """Return the name, the test accuracy, the costs and the zero-retrain accuracy of the network of a run."""
    if run.results is None:
        return None
    if (own := run.results.per_task) is not None:
        return "per task", own.accuracy, own.cost.values, None
    found: NetworkResult | None = next(iter(run.results.networks), None)
    return None if found is None else (found.name, found.retrained, found.cost.values, found.zero_retrain)


def _by_task(run: Evidence, name: str) -> tuple[float, ...] | None:
    kept = run.accuracies
    if kept is None:
        return None
    return kept.per_task if name == "per task" else kept.networks[name].retrained if name in kept.networks else None


def _difference(first: Evidence, run: Evidence, a: Compared, b: Compared) -> Difference:
    def told(note: str, tasks: str = UNKNOWN, gain: Gain | None = None) -> Difference:
        return Difference(run=run.name, over=first.name, gain=gain, tasks=tasks, note=note)

    if a.accuracy is None or b.accuracy is None:
        return told(f"{run.name if b.accuracy is None else first.name} has no test accuracy")
    if unlike := _other_task(first, run):
        return told(f"other tasks, so no difference is computed: {unlike[0]}", OTHER)
    mine, theirs = _by_task(first, a.network), _by_task(run, b.network)
    if mine is None or theirs is None:
        note = "an earlier hnas kept no accuracy by task, so the interval is that of two separate tests"
        return told(note, UNKNOWN, gain(a.accuracy, b.accuracy, None))
    assert first.accuracies is not None
    assert run.accuracies is not None
    if first.accuracies.tasks != run.accuracies.tasks:
        note = "other test tasks of this kind, so the interval is that of two separate tests"
        return told(note, OTHER, gain(a.accuracy, b.accuracy, None))
    return told(f"paired over the same {len(mine)} test tasks", SAME, gain(a.accuracy, b.accuracy, (mine, theirs)))
