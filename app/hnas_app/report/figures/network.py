"""A network drawn layer by layer, the width of a box by its channels, with the cost of each layer beside it."""

from __future__ import annotations

from collections.abc import Sequence

from hnas.cost import Metric
from hnas_app.fronts.plot import label
from hnas_app.report.figures.picture import COLOURS, FAINT, Picture, amount, axis_name, drawing
from hnas_app.report.layers import COUNTED, Step

MOST_STEPS = 60
"""Layers that are drawn, a row each: the picture of a longer network would be taller than a page."""


def network(name: str, steps: Sequence[Step], metric: Metric) -> Picture | None:
    """Draw a network from the image above to the classes below, with the costs of its layers as bars."""
    if not steps:
        return None
    whole, total = len(steps), sum(_cost(step, metric) for step in steps)
    costliest = sorted(steps, key=lambda step: -_cost(step, metric))[:MOST_STEPS]
    steps = [step for step in steps if step in costliest]
    costs = [_cost(step, metric) for step in steps]
    rows = range(len(steps))
    most = max(step.out_shape[0] for step in steps)
    with drawing(0.65 + 0.26 * len(steps)) as (figure, _):
        figure.clear()
        boxes, bars = figure.subplots(1, 2, sharey=True, width_ratios=(1.7, 1))
        boxes.barh(rows, [s.out_shape[0] / most for s in steps], 0.72, left=0, color=COLOURS[5], alpha=0.55)
        for row, step in enumerate(steps):
            channels, height, width = step.out_shape
            size = f"{channels}" if height == width == 1 else f"{channels}×{height}×{width}"
            then = f" · {step.then}" if step.then else ""
            for source in step.reads if len(steps) == whole else ():
                bend = {"arrowstyle": "->", "connectionstyle": "arc3,rad=0.35", "lw": 0.7, "color": COLOURS[1]}
                boxes.annotate("", xy=(-0.01, row), xytext=(-0.01, source), arrowprops=bend)
            boxes.text(0.02, row, label(f"{step.title}{then} → {size}"), va="center", fontsize=6)
        boxes.set_xlim(-0.15 if any(step.reads for step in steps) else 0, 1.25)
        boxes.set_axis_off()
        boxes.set_title(label(f"{name}: box width = channels"), fontsize=7)
        bars.barh(rows, costs, 0.72, color=COLOURS[0])
        marks = max(costs, default=0) or 1
        bars.plot([c + 0.02 * marks for c in costs], rows, ls="", marker="o", ms=3, alpha=0.01, gid="layers")
        for row, cost in enumerate(costs):
            share = f"{100 * cost / total:.0f} %" if total and metric.combine == "sum" else amount(cost, metric)
            bars.text(cost + 0.04 * marks, row, share, va="center", fontsize=6, color=FAINT)
        bars.set_xlim(0, 1.35 * marks)
        bars.locator_params(axis="x", nbins=3)
        bars.set_xlabel(label(axis_name(metric)))
        bars.tick_params(left=False)
        bars.spines["left"].set_visible(False)
        boxes.set_ylim(len(steps) - 0.4, -1.0 if any(-1 in step.reads for step in steps) else -0.6)
    tips = [
        f"{s.title}{', ' + s.then if s.then else ''}\n{s.key}\n"
        f"{metric.name} {amount(c, metric)}, {s.params:,} parameters, {s.macs:,} MACs"
        for s, c in zip(steps, costs, strict=True)
    ]
    combined = "They add up to the cost of a pass." if metric.combine == "sum" else "The largest counts."
    branches = " Arrows: what a layer reads besides the one before it." if any(s.reads for s in steps) else ""
    left_out = f" Shown are the {len(steps)} costliest of {whole} layers." if len(steps) < whole else ""
    caption = (
        f"{name}, layer by layer, with the {metric.name} of each from the cost table. {combined}{branches}{left_out}"
    )
    return Picture(name=f"network-{name}", caption=caption, figure=figure, tips={"layers": tips}, by_row=True)


def _cost(step: Step, metric: Metric) -> float:
    if metric.name in COUNTED:
        return {"params": step.params, "macs": step.macs}[metric.name]
    return step.cost[metric.name]
