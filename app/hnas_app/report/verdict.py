"""The verdict on a run in a sentence: how good its network is, at which cost, and against what one would do by hand."""

from __future__ import annotations

from math import sqrt

from attrs import frozen

from hnas.architecture import Architecture
from hnas.cost import Cost, Metric
from hnas.errors import quoted
from hnas_app.report.evidence import Evidence
from hnas_app.report.figures.picture import amount
from hnas_app.runs.results import NetworkResult, paired
from hnas_app.search.compared import SCALED
from hnas_app.training.accuracy import Accuracy

Reference = tuple[str, Architecture, Cost]
"""The name of the network that limits are measured by, and its costs."""
_WORDS = {"params": "parameters", "macs": "MACs"}


@frozen(kw_only=True)
class Gain:
    """How much better one network is than another on test tasks, in accuracy (0–1)."""

    mean: float
    half_width: float | None
    """Half of its 95 % interval; ``None`` for a single task."""
    paired: bool
    """Whether both were tested on the same tasks, and are compared task by task."""

    def __str__(self) -> str:
        half = "" if self.half_width is None else f" ± {100 * self.half_width:.1f}"
        return f"{100 * self.mean:+.1f}{half} points"

    @property
    def words(self) -> str:
        """Whether the difference is clear."""
        if self.half_width is None:
            return "one task, so no interval"
        how = "" if self.paired else ", not paired"
        return ("no clear difference" if abs(self.mean) <= self.half_width else "a clear difference") + how


def gain(first: Accuracy, second: Accuracy, by_task: tuple[tuple[float, ...], tuple[float, ...]] | None) -> Gain:
    """Return how much better the second is; paired if the accuracies of both on the same tasks are given."""
    if by_task is not None:
        found = paired(*by_task)
        return Gain(mean=found.mean, half_width=found.half_width, paired=True)
    halves = (first.half_width, second.half_width)
    half = None if halves[0] is None or halves[1] is None else sqrt(halves[0] ** 2 + halves[1] ** 2)
    return Gain(mean=second.mean - first.mean, half_width=half, paired=False)


def verdict(evidence: Evidence, metric: Metric | None, reference: Reference | None) -> str:
    """Return the verdict, or how far the run has come."""
    results, adaption = evidence.results, evidence.adaption
    if results is not None and results.per_task is not None:
        own = results.per_task
        cost = f", at a mean of {amount(own.cost[metric.name], metric)}" if metric else ""
        return f"{_told(own.accuracy)} with an architecture for each test task{cost}."
    if results is not None and results.networks and metric is not None:
        found = results.networks[0]
        told = f"{_told(found.retrained)} on test tasks {_at(found.cost, metric, reference)}"
        return (
            told + "".join(f"; {_against(evidence, found, n)}" for n in results.networks[1:] if n.name == SCALED) + "."
        )
    if adaption is not None and adaption.finalists and metric is not None:
        chosen, pictures = adaption.chosen, evidence.own_task
        tallies = ((pictures.query, "in query/"), (pictures.held_out, "that were held out in turn")) if pictures else ()
        for tally, where in tallies:
            if tally is not None:
                return f"{tally.right} of {tally.of} pictures {where} right, {_at(chosen.cost, metric, reference)}."
        return (
            f"Not tested yet. The search chose a network with {100 * chosen.accuracy:.1f} % on {evidence.scored_on} "
            f"{adaption.weights}, {_at(chosen.cost, metric, reference)}."
        )
    done = [phase for phase, state in evidence.states.items() if state == "done"]
    return f"Unfinished: {', '.join(done) or 'nothing'} done, so there is no network yet."


def _against(evidence: Evidence, found: NetworkResult, scaled: NetworkResult) -> str:
    if found.arch == scaled.arch:
        return "it is the scaled reference itself"
    kept = evidence.accuracies.networks if evidence.accuracies else {}
    both = kept.get(found.name), kept.get(scaled.name)
    by_task = (both[1].retrained, both[0].retrained) if both[0] and both[1] else None
    difference = gain(scaled.retrained, found.retrained, by_task)
    size = str(difference).lstrip("+-") if difference.mean < 0 else str(difference)
    return f"{size} {'below' if difference.mean < 0 else 'over'} the scaled reference ({difference.words})"


def _at(cost: Cost, metric: Metric, reference: Reference | None) -> str:
    value = cost[metric.name]
    if reference is None or not (whole := reference[2][metric.name]):
        return f"at {amount(value, metric)}"
    what = _WORDS.get(metric.name, metric.name)
    return f"at {value / whole:.2f} of the {what} of the reference network {reference[0]} ({amount(value, metric)})"


def _told(accuracy: Accuracy) -> str:
    half = "" if accuracy.half_width is None or accuracy.tasks < 2 else f" ± {100 * accuracy.half_width:.1f}"
    return f"{100 * accuracy.mean:.1f}{half} %"


def next_commands(evidence: Evidence) -> list[tuple[str, str]]:
    """Return commands to go on with, each with what it is for."""
    run = quoted(evidence.path)
    if evidence.states.get("meta-train") != "done":
        return [(f"hnas run --run-dir {run}", "go on with the run")]
    is_over = evidence.is_own_task or evidence.states.get("evaluate") == "done"
    commands = [] if is_over else [(f"hnas evaluate {run}", "do what is still to do")]
    if evidence.states.get("adapt") == "done":
        commands.append((f"hnas export {run}", "write the network as an ONNX model"))
    name = evidence.metrics[0].name if evidence.metrics else "latency"
    limit = next(text for share in (0.3, 0.6) if (text := f"{name}<={share}ref") not in evidence.limits)
    return [
        *commands,
        (f"hnas adapt {run} --constraint '{limit}'", "search under another limit, with the same super-net"),
        (f"hnas report {run} --figures figures", "write these figures as SVG and PDF"),
    ]
