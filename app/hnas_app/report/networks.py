"""The results of a run, to read: a table of networks, and the picture of the last population."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from hnas.architecture import Option
from hnas.cost import Cost, Metric
from hnas.learner import Inference
from hnas_app.costs.amounts import amount, column
from hnas_app.fronts.dominance import nondominated
from hnas_app.fronts.plot import label
from hnas_app.runs.results import PerTask, Results
from hnas_app.search.adapt import Adaption
from hnas_app.training.race import DIVERGED, FOUND, Race

CHOICE = "the search's choice"
"""What is printed for the first finalist if there was a race, since the row ``found`` may be another."""

UNSTEADY = "~"
"""Stands before a cost that was measured while the device was unsteady."""


def table(results: Results) -> tuple[list[str], list[list[str]]]:
    """Return head and rows: each network's costs, and accuracy with super-net weights and trained alone.

    What a prediction takes stands there if it is not a single pass for all, with nothing stored of the task.
    """
    tested = results.networks
    rows = [(n.name, n.cost, str(n.zero_retrain), str(n.retrained), *inference_cells(n.inference)) for n in tested]
    if (own := results.per_task) is not None:
        rows.insert(0, ("per task", own.cost, str(own.accuracy), "", "", ""))
    heads, costs = cost_columns([cost for _, cost, *_ in rows], results.metrics)
    for (name, *_), cells in zip(rows, costs, strict=True):
        if name in results.unsteady:
            cells[0] = f"{UNSTEADY}{cells[0]}"
    lines = [[name, *each, *others] for (name, _, *others), each in zip(rows, costs, strict=True)]
    lines.append(["nearest class mean", *("" for _ in heads), "", str(results.baseline), "", ""])
    head = ["network", *heads, "zero-retrain", "re-trained", "inference", "stored_B"]
    if all(n.inference == Inference() for n in tested):
        return head[:-2], [line[:-2] for line in lines]
    return head, lines


def inference_cells(found: Inference) -> tuple[str, str]:
    """Return what a prediction takes, in words, and the bytes stored for it."""
    return "single pass" if found.passes == 1 else f"multi pass ({found.passes:.3g})", f"{found.stored:,}"


def cost_columns(costs: Sequence[Cost], metrics: Sequence[Metric]) -> tuple[list[str], list[list[str]]]:
    """Return the heads of the metrics' columns, and the cells of each row of ``costs``."""
    columns = [column(m.column, [cost[m.name] for cost in costs]) for m in metrics]
    return [head for head, _ in columns], [[cells[i] for _, cells in columns] for i in range(len(costs))]


def costs_text(cost: Cost, metrics: Sequence[Metric]) -> str:
    """Return all costs of a network in a line: ``latency 18.9 µs, cycles 3,779``."""
    return ", ".join(f"{m.name} {amount(cost[m.name], m.unit)}" for m in metrics)


def describe_per_task(own: PerTask, metrics: Sequence[Metric]) -> str:
    """Return how many architectures the test tasks had, how many proposals broke a limit, and the largest costs."""
    tasks, most = own.accuracy.tasks, costs_text(own.largest, metrics)
    return (
        f"per task: {len(own.architectures)} architectures for {tasks} tasks, {own.moved} of them moved to keep the "
        f"limits; costs are means, at most {most}"
    )


def describe(options: Mapping[str, Option]) -> str:
    """Gather options by the number in their names, such as ``kernel1``; those without one come first.

    A second number, as in ``kernel2_3``, is a place in the block: ``2: kernel 3/5/1``, with ``-`` for one that is not.
    """
    whole, blocks = [], {}  # type: list[str], dict[str, dict[tuple[str, bool], dict[str, Option]]]
    for name, option in options.items():
        if numbered := _NUMBERED.fullmatch(name):
            stem, block, place = numbered.groups()
            blocks.setdefault(block, {}).setdefault((stem, bool(place)), {})[place or ""] = option
        else:
            whole.append(f"{name} {option}")
    return "; ".join([*whole, *(f"{number}: {_block(stems)}" for number, stems in blocks.items())])


_NUMBERED = re.compile(r"(.*?[^\d_])(\d+)(?:_(\d+))?")


def _block(stems: Mapping[tuple[str, bool], Mapping[str, Option]]) -> str:
    places = list(dict.fromkeys(place for (_, placed), found in stems.items() if placed for place in found))
    return ", ".join(
        f"{stem} {'/'.join(str(found.get(place, '-')) for place in (places if placed else ['']))}"
        for (stem, placed), found in stems.items()
    )


def race_table(race: Race) -> tuple[list[str], list[list[str]]]:
    """Return head and rows of a race: how good each network was in each heat, in %; the last heat's best come first."""
    heats = [(heat, f"after {heat.iterations:,}") for heat in race.heats]
    names = dict.fromkeys(name for heat in reversed(race.heats) for name in heat.ranking)

    def told(accuracy: float | None) -> str:
        return "" if accuracy is None else "diverged" if accuracy == DIVERGED else f"{100 * accuracy:.1f}"

    rows = [[_called(name), *(told(heat.accuracies.get(name)) for heat, _ in heats)] for name in names]
    return ["race", *(head for _, head in heats)], rows


def race_won(race: Race) -> str:
    """Return what the numbers of a race are, and who won."""
    return f"the race: validation accuracy in % after so many iterations; {_called(race.winner[0])} won"


def _called(name: str) -> str:
    return CHOICE if name == FOUND else name


def plot_population(adaption: Adaption, results: Results, metric: Metric, limit: float | None, path: Path) -> None:
    """Draw cost against accuracy of the last population, its Pareto front, and the networks tested."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.4, 4.4), layout="constrained")
    axes = figure.add_subplot()
    points = [(s.cost[metric.name], 100 * s.accuracy) for s in adaption.population]
    front = [points[i] for i in nondominated([(s.cost[metric.name], -s.accuracy) for s in adaption.population])]
    axes.scatter([x for x, _ in points], [y for _, y in points], 14, alpha=0.5, label="last population")
    axes.step(*zip(*front, strict=True), where="post", lw=1)
    for network, marker in zip(results.networks, "*DsvP^", strict=False):
        x, name = network.cost[metric.name], network.name
        axes.scatter(x, 100 * network.zero_retrain.mean, 90, marker=marker, label=label(f"{name}, zero-retrain"))
        axes.scatter(x, 100 * network.retrained.mean, 90, color="k", marker=marker, label=label(f"{name}, re-trained"))
    if limit is not None:
        axes.axvline(limit, color="k", lw=0.8, ls=":", label="limit")
    axes.set_xlabel(label(metric.column.replace("_", " in ")))
    axes.set_ylabel("accuracy, %")
    axes.legend(fontsize=7)
    figure.savefig(path, dpi=150, metadata={"Software": None})
