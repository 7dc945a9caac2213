"""Accuracy against cost: the search's candidates on validation tasks, and below them, the networks on test tasks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from hnas.architecture import Architecture, Option
from hnas.cost import Cost, Metric
from hnas.strategy import Scored
from hnas_app.costs.limits import Limit
from hnas_app.fronts.dominance import nondominated
from hnas_app.fronts.plot import label
from hnas_app.report.evidence import Evidence
from hnas_app.report.figures.picture import (
    COLOURS,
    FAINT,
    INK,
    MARKERS,
    Picture,
    amount,
    axis_name,
    drawing,
    legend_below,
)
from hnas_app.report.networks import describe

if TYPE_CHECKING:
    from hnas_app.runs.results import Results
    from hnas_app.search.adapt import Adaption

MOST_CANDIDATES = 500
"""Candidates of a search that are drawn, the best by loss: each brings its text, and a page stays below 2 MB."""
Describe = Callable[[Architecture], dict[str, Option]]
"""Returns the options of an architecture by name, or none if the space is not known."""


def front(evidence: Evidence, metric: Metric, limit: Limit | None, options: Describe) -> Picture | None:
    """Draw the panels that there are results for; ``None`` if there are none."""
    adaption, results = evidence.adaption, evidence.results
    scored = [s for s in (*adaption.population, *adaption.finalists) if not s.bound] if adaption else []
    left_out = max(0, len(scored) - MOST_CANDIDATES)
    scored = sorted(scored, key=lambda s: s.loss)[:MOST_CANDIDATES]
    panels = bool(scored) + (results is not None)
    if not panels:
        return None
    tips: dict[str, list[str]] = {}
    with drawing(0.5 + 1.6 * panels, panels, sharex=True) as (figure, axes):
        if adaption and scored:
            weights = f", {adaption.weights}" if adaption.finalists else ""
            _searched(axes[0], scored, adaption, metric, options, tips, evidence.scored_on)
            axes[0].set_title(f"{evidence.scored_on}{weights}")
            axes[0].set_ylabel("validation accuracy, %" if not evidence.is_own_task else "accuracy, %")
        if results is not None:
            _tested(axes[-1], results, metric, tips)
            axes[-1].set_title("test tasks")
            axes[-1].set_ylabel("test accuracy, %")
        for each in axes:
            _shade(each, limit)
        axes[-1].set_xlabel(label(axis_name(metric)))
        legend_below(figure, axes)
    caption = (
        f"Accuracy against {metric.name} on {evidence.device}. "
        + (
            f"The candidates of the search are scored on {evidence.scored_on}; the line joins the "
            f"{'finalists' if adaption.finalists else 'candidates'} that no other of them beats, and the star is the "
            "network that was chosen. "
            if adaption and scored
            else ""
        )
        + (f"{left_out} candidates of a higher loss are left out. " if left_out else "")
        + ("The networks of the result are tested on other tasks, with 95 % intervals. " * (results is not None))
        + (f"Shaded: beyond the limit {limit}." if limit else "")
    )
    return Picture(name=f"front-{metric.name}", caption=caption.strip(), figure=figure, tips=tips)


def _searched(
    axes: Any,
    scored: Sequence[Scored],
    adaption: Adaption,
    metric: Metric,
    options: Describe,
    tips: dict[str, list[str]],
    scored_on: str,
) -> None:
    finalists = adaption.finalists
    population = list({s.arch: s for s in scored if s not in finalists}.values())
    groups: tuple[tuple[str, Sequence[Scored], str, dict[str, Any]], ...] = (
        ("population", population, "last population", {"marker": "o", "ms": 2.6, "color": FAINT, "alpha": 0.7}),
        ("finalists", finalists, "finalists, on more tasks", {"marker": "D", "ms": 3, "color": COLOURS[0]}),
        ("chosen", [adaption.chosen], "chosen", {"marker": "*", "ms": 8, "mfc": "white", "mec": INK}),
    )
    points = [(s.cost[metric.name], 100 * s.accuracy) for s in finalists or population]
    best = [points[i] for i in nondominated([(x, -y) for x, y in points])]
    if best:
        axes.step(*zip(*best, strict=True), where="post", color=FAINT, lw=0.8, zorder=1)
    for gid, members, name, look in groups:
        if members:
            xy = [(s.cost[metric.name], 100 * s.accuracy) for s in members]
            axes.plot(*zip(*xy, strict=True), ls="", gid=gid, label=name, **look)
            tips[gid] = [
                f"{name}: {100 * s.accuracy:.1f} % on {scored_on}\n{_costs(s.cost, metric)}\n{_told(s, options)}"
                for s in members
            ]


def _tested(axes: Any, results: Results, metric: Metric, tips: dict[str, list[str]]) -> None:
    for i, network in enumerate(results.networks):
        x, colour = network.cost[metric.name], COLOURS[(i + 1) % len(COLOURS)]
        for how, found, fill in (
            ("re-trained", network.retrained, colour),
            ("super-net's weights", network.zero_retrain, "white"),
        ):
            gid = f"test-{i}-{'alone' if how == 're-trained' else 'shared'}"
            y, half = 100 * found.mean, 100 * (found.half_width or 0)
            axes.vlines(x, y - half, y + half, color=colour, lw=0.9, zorder=2)
            marker = MARKERS[i % len(MARKERS)]
            name = label(network.name) if how == "re-trained" else None
            axes.plot([x], [y], ls="", marker=marker, ms=4.5, mfc=fill, mec=colour, gid=gid, label=name, zorder=3)
            tips[gid] = [
                f"{network.name}, {how}: {found} on {found.tasks} test tasks\n{_costs(network.cost, metric)}\n"
                f"{describe(network.options)}"
            ]
    if results.per_task is not None:
        own = results.per_task
        axes.plot([own.cost[metric.name]], [100 * own.accuracy.mean], "P", color=INK, gid="per-task", label="per task")
        tips["per-task"] = [f"an architecture for each task: {own.accuracy}\nmean {_costs(own.cost, metric)}"]
    axes.plot([], [], "o", mfc="white", mec=INK, ms=4, label="hollow: super-net's weights")
    axes.axhline(100 * results.baseline.mean, color=FAINT, lw=0.8, ls="--", label="nearest class mean", zorder=1)


def _shade(axes: Any, limit: Limit | None) -> None:
    """Shade what breaks the limit, and give every mark room."""
    axes.margins(x=0.08, y=0.1)
    axes.locator_params(axis="x", nbins=6)
    low, high = axes.get_xlim()
    if limit is not None:
        high = max(high, limit.value + 0.12 * (limit.value - low))
        axes.axvspan(limit.value, high, color=FAINT, alpha=0.16, lw=0, label="over the limit", zorder=0)
    axes.set_xlim(low, high)


def _costs(cost: Cost, first: Metric) -> str:
    others = [m for m in cost.values if m != first.name]
    return ", ".join([f"{first.name} {amount(cost[first.name], first)}", *(f"{m} {_number(cost[m])}" for m in others)])


def _number(value: float) -> str:
    return f"{value:,.0f}" if float(value).is_integer() else f"{value:.4g}"


def _told(scored: Scored, options: Describe) -> str:
    return describe(options(scored.arch)) or f"genes {list(scored.arch.genes)}"
