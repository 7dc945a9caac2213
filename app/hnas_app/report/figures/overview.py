"""The networks of several runs by cost, those of one kind of tasks and one device: tested ones, or what was chosen."""

from __future__ import annotations

from collections.abc import Sequence

from attrs import frozen

from hnas.cost import Metric
from hnas_app.fronts.plot import label
from hnas_app.report.figures.picture import COLOURS, MARKERS, Picture, amount, axis_name, drawing, legend_below


@frozen(kw_only=True)
class Point:
    """The network of a run: its cost, and its accuracy (0–1) with half of its interval."""

    run: str
    series: str
    """What it is: ``found``, ``scaled``, …"""
    cost: float
    accuracy: float
    half_width: float | None
    limits: str


def overview(name: str, points: Sequence[Point], metric: Metric, tasks: str, about: str) -> Picture | None:
    """Draw the networks of several runs in one picture; ``tasks`` is ``test`` or ``validation``, never both."""
    if not points:
        return None
    tips: dict[str, list[str]] = {}
    with drawing(2.7) as (figure, (axes,)):
        for i, series in enumerate(dict.fromkeys(p.series for p in points)):
            members = sorted((p for p in points if p.series == series), key=lambda p: p.cost)
            x, y = [p.cost for p in members], [100 * p.accuracy for p in members]
            colour = COLOURS[(i + 1) % len(COLOURS)]
            halves = [100 * (p.half_width or 0) for p in members]
            axes.vlines(
                x,
                [v - h for v, h in zip(y, halves, strict=True)],
                [v + h for v, h in zip(y, halves, strict=True)],
                color=colour,
                lw=0.9,
            )
            axes.plot(
                x,
                y,
                ls="",
                marker=MARKERS[i % len(MARKERS)],
                ms=4.5,
                color=colour,
                gid=f"series-{i}",
                label=label(series),
            )
            tips[f"series-{i}"] = [
                f"{p.series} of {p.run}\n{100 * p.accuracy:.1f} % on {tasks} tasks, {metric.name} "
                f"{amount(p.cost, metric)}\nlimits: {p.limits or 'the default one'}"
                for p in members
            ]
        axes.margins(x=0.08, y=0.12)
        axes.locator_params(axis="x", nbins=5)
        axes.set_xlabel(label(axis_name(metric)))
        axes.set_ylabel(f"{tasks} accuracy, %")
        legend_below(figure, (axes,), 3)
    intervals = ", with 95 % intervals" if tasks == "test" else " with the super-net's weights, as its search scored it"
    caption = f"The network of each run on {tasks} tasks{intervals}. {about}."
    return Picture(name=name, caption=caption, figure=figure, tips=tips)
