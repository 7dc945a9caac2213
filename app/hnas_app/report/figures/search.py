"""The progress of a search: accuracy and cost of its candidates by iteration, as Figure 4 of the paper has it."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median
from typing import Any

from hnas.cost import Metric
from hnas.strategy import Scored
from hnas_app.costs.limits import Limit
from hnas_app.fronts.plot import label
from hnas_app.report.figures.picture import COLOURS, FAINT, Picture, amount, axis_name, drawing, legend_below


def progress(
    iterations: Sequence[Sequence[Scored]], metric: Metric, limit: Limit | None, scored_on: str
) -> Picture | None:
    """Draw the mean and the best accuracy, and the median cost, of the candidates of each iteration."""
    if not iterations:
        return None
    x = range(1, len(iterations) + 1)
    mean = [100 * sum(s.accuracy for s in batch) / len(batch) for batch in iterations]
    best = [min(batch, key=lambda s: (s.bound, s.loss)) for batch in iterations]
    costs = [sorted(s.cost[metric.name] for s in batch) for batch in iterations]
    with drawing(3.3, 2, sharex=True) as (figure, (above, below)):
        mark: dict[str, Any] = {"marker": "o", "ms": 2.5}
        above.plot(x, mean, color=COLOURS[0], gid="mean", label="mean of the candidates", **mark)
        above.plot(x, [100 * s.accuracy for s in best], color=COLOURS[1], gid="best", label="best by loss", **mark)
        above.set_ylabel("validation accuracy, %" if scored_on.startswith("validation") else "accuracy, %")
        below.fill_between(x, [c[0] for c in costs], [c[-1] for c in costs], color=COLOURS[0], alpha=0.15, lw=0)
        below.plot(x, [median(c) for c in costs], color=COLOURS[0], gid="cost", **mark)
        below.plot(x, [s.cost[metric.name] for s in best], color=COLOURS[1], gid="best-cost", **mark)
        if limit is not None:
            below.axhline(limit.value, color=FAINT, ls="--", lw=0.8, label="limit")
        below.set_ylabel(label(axis_name(metric)))
        below.set_xlabel("iteration")
        below.xaxis.get_major_locator().set_params(integer=True)
        legend_below(figure, (above, below))
    rows = list(zip(x, iterations, mean, best, costs, strict=True))
    chosen = [
        f"iteration {i}, best by loss: {100 * b.accuracy:.1f} %, {amount(b.cost[metric.name], metric)}"
        for i, _, _, b, _ in rows
    ]
    tips = {
        "mean": [f"iteration {i}: mean {m:.1f} % over {len(batch)} candidates" for i, batch, m, _, _ in rows],
        "best": chosen,
        "cost": [f"iteration {i}: median {amount(median(c), metric)}" for i, _, _, _, c in rows],
        "best-cost": chosen,
    }
    caption = (
        f"Progress of the search (Figure 4 of the paper), on {scored_on}. Candidates that were left early count "
        "with the tasks that they were scored on. Below: the median cost and the range."
    )
    return Picture(name="search", caption=caption, figure=figure, tips=tips)
