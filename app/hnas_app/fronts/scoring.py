"""The fronts of finished runs on common tasks: one for each device, with one series for each strategy."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Literal

from attrs import evolve, field, frozen

from hnas.architecture import Architecture, Option
from hnas.cost import Metric
from hnas.learner import State
from hnas_app.executors.interface import Executor
from hnas_app.fronts.dominance import Point, hypervolume, nondominated, reference_point
from hnas_app.fronts.runs import FinishedRun
from hnas_app.training.accuracy import Accuracy
from hnas_app.training.outer_loop import score_tasks
from hnas_app.training.setup.setup import Setup

PURPOSE = "front-tasks"
"""A stream of other validation tasks: on the tasks of a search, its chosen network looks better than it is."""

By = Literal["loss", "error"]


@frozen(kw_only=True)
class Network:
    """An architecture with its cost in one metric, and how well it does on the common tasks."""

    arch: Architecture
    options: Mapping[str, Option]
    cost: float
    loss: float
    accuracy: Accuracy
    picks: Mapping[str, int] = field(factory=dict)
    """Its number in each run of its series that found it, see `Adaption.points`."""

    def point(self, by: By) -> Point:
        return self.cost, self.loss if by == "loss" else 1 - self.accuracy.mean


@frozen(kw_only=True)
class Series:
    """The networks that the runs of one strategy found on a device."""

    strategy: str
    runs: tuple[str, ...]
    limits: tuple[str, ...]
    candidates: int
    front: tuple[Network, ...]
    """Those that no other candidate of the series beats, cheapest first."""
    hypervolume: float
    share: float
    """Hypervolume over the area between zero and the reference point."""


@frozen(kw_only=True)
class Front:
    """All that is compared on one device; the same JSON and picture for every strategy."""

    device: str
    metric: Metric
    by: By
    reference_point: Point
    series: tuple[Series, ...]
    together: float
    """Hypervolume of all series' candidates."""
    references: Mapping[str, Network]
    """The space's reference networks, such as that of MAML++, with the super-net's weights."""


Scores = Mapping[Architecture, tuple[float, Accuracy]]
"""Mean loss and accuracy on the common tasks."""


def score_all(
    setup: Setup, state: State, archs: Iterable[Architecture], executor: Executor, *, tasks: int, n_query: int
) -> dict[Architecture, tuple[float, Accuracy]]:
    """Adapt each architecture to each of the common validation tasks, from the super-net's weights."""
    setup.send(executor)
    found = {}
    for arch in dict.fromkeys(archs):
        losses, accuracies = score_tasks(executor, state, arch, "validation", PURPOSE, tasks, n_query)
        found[arch] = (sum(losses) / len(losses), Accuracy.over(accuracies))
    return found


def front_of(setup: Setup, metric: Metric, runs: Sequence[FinishedRun], scores: Scores, by: By) -> Front:
    """Put the candidates of one device's runs, already scored, and the reference networks onto one front.

    Costs are of the first run's table, so that a network that two runs found has one cost.
    """
    table = runs[0].table

    def network(arch: Architecture) -> Network:
        loss, accuracy = scores[arch]
        cost = setup.cost(arch, table.cost, table.metrics)[metric.name]
        return Network(arch=arch, options=setup.space.options(arch), cost=cost, loss=loss, accuracy=accuracy)

    groups: dict[str, list[FinishedRun]] = {}
    for run in runs:
        groups.setdefault(run.strategy, []).append(run)
    found = {
        strategy: [network(a) for a in dict.fromkeys(a for r in group for a in r.candidates(metric.name))]
        for strategy, group in groups.items()
    }
    everyone = [n for networks in found.values() for n in networks]
    references = {name: network(arch) for name, arch in setup.space.references().items()}
    costs = [n.cost for n in (*everyone, *references.values())]
    corner = reference_point(costs, setup.n_way, error=by == "error")

    def series(strategy: str, networks: Sequence[Network]) -> Series:
        points = [n.point(by) for n in networks]
        runs = groups[strategy]
        front = [networks[i] for i in nondominated(points)]
        picks = [{str(r.path): k for r in runs if (k := r.number(n.arch)) is not None} for n in front]
        volume = hypervolume(points, corner)
        return Series(
            strategy=strategy,
            runs=tuple(str(r.path) for r in runs),
            limits=tuple(dict.fromkeys(", ".join(r.limits) or "default" for r in runs)),
            candidates=len(networks),
            front=tuple(evolve(n, picks=own) for n, own in zip(front, picks, strict=True)),
            hypervolume=volume,
            share=volume / (corner[0] * corner[1]),
        )

    return Front(
        device=f"{table.info.backend}: {table.info.device}",
        metric=metric,
        by=by,
        reference_point=corner,
        series=tuple(series(strategy, networks) for strategy, networks in found.items()),
        together=hypervolume([n.point(by) for n in everyone], corner),
        references=references,
    )
