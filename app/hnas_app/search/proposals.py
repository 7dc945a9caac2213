"""What the learner proposes for a search: an architecture for each task of a stream of validation tasks.

A proposal depends on the weights and the task, not on the device or its limits. So searches for several devices share
one store, and each moves the proposals that break its own limits: if they weigh options, by the lightest changes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any

from attrs import define, evolve, field, frozen

from hnas.architecture import Architecture, Proposal
from hnas.cost import CostTable
from hnas.errors import ConfigError, DataError
from hnas.layer import Layer
from hnas.learner import State
from hnas.supernet import Params, SuperNet
from hnas.toolkit.codec import from_json, to_json
from hnas.toolkit.files import check_seal, checksum, sealed
from hnas_app.costs.limits import Limit
from hnas_app.executors.interface import Executor
from hnas_app.search.feasibility import Feasibility
from hnas_app.trackers.json_lines import JsonLines
from hnas_app.training.proposing import propose
from hnas_app.training.setup.setup import Setup, to_workers

PURPOSE, REPAIR = "proposal-tasks", "proposal-repair"
"""The stream of tasks, and that of the random numbers which move a proposal, by the index of its task."""
PROPOSALS = "proposals.jsonl"
"""The log of all proposals, task by task, in the folder of a run or of a sweep."""
Violation = Callable[[Architecture], tuple[float, ...]]
"""The worst cost over its limit, at most 1 if all hold, and then what tells equally bad ones apart."""
Step = tuple[float, tuple[float, ...], Architecture]
"""The weight that a change of one choice loses, the violation that it leaves, and the architecture."""


@define(kw_only=True, eq=False, slots=False)
class Proposals:
    """Asks the learner for proposals with one super-net's weights, for each task once.

    ``log`` keeps them on disk, so that a search that was stopped sees the same ones, whatever machine it goes on with.
    It must be of these weights.
    """

    setup: Setup
    executor: Executor
    state: State
    log: JsonLines
    prices: Mapping[str, Any] = field(factory=dict)
    """What options cost, as `SuperNet.prices` gives it, if the learner is to prefer cheap ones."""

    def priced(self, prices: Mapping[str, Any]) -> Proposals:
        """Return the store of proposals with these prices, in a log of their own; this one if there are none."""
        if not prices:
            return self
        digest = checksum({name: value.tolist() for name, value in prices.items()})[:8]
        path = self.log.path.with_stem(f"{self.log.path.stem}-{digest}")
        return evolve(self, prices=prices, log=evolve(self.log, path=path))

    def first(self, count: int) -> list[Architecture]:
        """Return the architectures that are proposed for the first ``count`` tasks, as `weighed` does."""
        return [proposal.arch for proposal in self.weighed(count)]

    def weighed(self, count: int) -> list[Proposal]:
        """Return the proposals for the first ``count`` tasks. Raises `DataError` if the log is damaged."""
        given = self.setup.given
        tasks = range(len(self._known), count)
        if tasks:
            self.setup.send(self.executor)
            self.executor.put(scored=self._arrays)
            own = [t % len(given) for t in tasks] if given is not None else tasks  # own pictures make few tasks
            found = propose(self.executor, "validation", PURPOSE, own, 1, to_workers(dict(self.prices)))
            for task, one in zip(tasks, found, strict=True):
                line = to_json(_Line(task=task, space=one.arch.space, genes=one.arch.genes, weights=one.weights))
                self.log.append(sealed({k: v for k, v in line.items() if v or k != "weights"}), sync=True)
                self._known.append(one)
        return self._known[: max(0, count)]

    def within(self, feasibility: Feasibility) -> Callable[[int], list[Architecture]] | None:
        """Return `SearchProblem.proposals` for a search under limits; ``None`` if the learner proposes nothing."""

        def proposals(count: int) -> list[Architecture]:
            return [moved(one, task, feasibility, self.setup) for task, one in enumerate(self.weighed(count))]

        return proposals if self.setup.learner.proposes else None

    @cached_property
    def _known(self) -> list[Proposal]:
        return [_read(value, task, self.log) for task, value in enumerate(self.log.recover())]

    @cached_property
    def _arrays(self) -> dict[str, Any]:
        return to_workers(self.state)


def prices(supernet: SuperNet, table: CostTable, limits: Sequence[Limit], penalty: float) -> Params:
    """Return what each option of the mixture costs, as a share of the limits' sum, times ``penalty``.

    Only metrics that add up over layers count: an expected cost is no maximum. Raises `ConfigError` without one.
    """
    added = [limit for limit in limits if limit.metric.combine == "sum"]
    if not added:
        told = f"strategy.penalty={penalty:g} weighs costs that add up over layers, and no limit is of such a metric"
        raise ConfigError(told, hint="set a limit on one, such as --constraint 'params<=0.6ref', or no penalty")
    free = table.cost(())

    def cost(layer: Layer) -> float:
        own = table.cost((layer,))
        return penalty * sum((own[x.metric.name] - free[x.metric.name]) / x.value for x in added)

    return supernet.prices(cost)


def moved(proposal: Proposal, task: int, feasibility: Feasibility, setup: Setup) -> Architecture:
    """Return the proposal for a task if it keeps all limits, else an architecture near to it that does.

    It is the lightest change of the proposal's weights if that is possible, else a random one. Raises `InfeasibleError`
    if there is none.
    """
    found = lightest(proposal, setup.space.canonical, feasibility.violation) if proposal.weights else None
    return found or feasibility.repair(proposal.arch, setup.seeds.numpy(REPAIR, task))


def lightest(
    proposal: Proposal, canonical: Callable[[Architecture], Architecture], violation: Violation
) -> Architecture | None:
    """Return the proposal if it keeps all limits, else a near architecture that does; ``None`` if none is found.

    A step changes one choice. If some steps lead to an admissible architecture, the one that loses the least weight is
    taken; else that which saves the most of the violation for the weight that it loses. At last changes are taken back,
    the heaviest first, as far as the limits allow. Nothing is random: among equals, the first choice and its first
    option win.
    """
    weights, start = proposal.weights, proposal.arch
    arch, now = start, violation(start)
    while now[0] > 1:
        steps = [(lost, violation(near), near) for lost, near in _steps(arch, weights, canonical)]
        better = [step for step in steps if step[1] < now]
        if not better:
            return None
        admissible = [step for step in better if step[1][0] <= 1]
        _, now, arch = min(admissible or better, key=_loss if admissible else _price(now))
    changed = [i for i, gene in enumerate(arch.genes) if gene != start.genes[i] and weights[i]]
    for i in sorted(changed, key=lambda i: weights[i][arch.genes[i]] - weights[i][start.genes[i]]):
        back = canonical(_with(arch, i, start.genes[i]))
        arch = back if violation(back)[0] <= 1 else arch
    return arch


def _loss(step: Step) -> float:
    return step[0]


def _price(now: tuple[float, ...]) -> Callable[[Step], tuple[float, float]]:
    """Return a key: the weight lost for each unit of violation saved, of the worst limit or else of all together."""

    def key(step: Step) -> tuple[float, float]:
        lost, left, _ = step
        saved = next(before - after for before, after in zip(now, left, strict=True) if before != after)
        return max(lost, 0.0) / saved, -saved

    return key


def _steps(
    arch: Architecture, weights: tuple[tuple[float, ...], ...], canonical: Callable[[Architecture], Architecture]
) -> Iterator[tuple[float, Architecture]]:
    for i, (gene, of_options) in enumerate(zip(arch.genes, weights, strict=True)):
        for option, weight in enumerate(of_options):
            if option != gene:
                yield of_options[gene] - weight, canonical(_with(arch, i, option))


def _with(arch: Architecture, i: int, option: int) -> Architecture:
    return Architecture(arch.space, (*arch.genes[:i], option, *arch.genes[i + 1 :]))


@frozen(kw_only=True)
class _Line:
    """A line of the log."""

    schema: int = 1
    task: int
    space: str
    genes: tuple[int, ...]
    weights: tuple[tuple[float, ...], ...] = ()


def _read(value: Any, task: int, log: JsonLines) -> Proposal:
    hint = "move the file away; its proposals are then made again"
    check_seal(value, str(log.path), needed=True, hint=hint)
    line = from_json(value, _Line, str(log.path), hint=hint)
    if line.task != task:
        raise DataError(f"{log.path}, line {task + 1}: a proposal for task {line.task}, expected {task}", hint=hint)
    return Proposal(arch=Architecture(line.space, line.genes), weights=line.weights)
