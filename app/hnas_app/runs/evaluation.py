"""The last phase: every network of a run, and the baseline, tested on the same tasks."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from attrs import define, field

from hnas.architecture import Architecture, Proposal
from hnas.cost import Cost
from hnas.events import Event, Listener
from hnas.learner import State
from hnas_app.config.schema import EvaluateConfig
from hnas_app.executors.interface import Executor
from hnas_app.runs.results import NetworkAccuracies, NetworkResult, PerTask, TaskAccuracies
from hnas_app.search.feasibility import Feasibility
from hnas_app.search.proposals import moved
from hnas_app.training.accuracy import Accuracy
from hnas_app.training.evaluate import baseline_accuracies, evaluate_per_task, task_accuracies
from hnas_app.training.setup.setup import Setup


@define(kw_only=True)
class Evaluation:
    """Tests the networks of a run, with the super-net's weights and with those that each was trained to alone."""

    setup: Setup
    supernet: State
    config: EvaluateConfig
    executor: Executor
    emit: Listener
    cost: Callable[[Architecture], Cost]
    """Returns the costs of an architecture on the device."""
    feasibility: Feasibility
    _done: int = field(default=0, init=False)
    _total: int = field(default=0, init=False)

    def all(
        self, trained: Mapping[str, tuple[Setup, State]]
    ) -> tuple[tuple[NetworkResult, ...], PerTask | None, Accuracy, TaskAccuracies]:
        """Test networks that were trained alone, an architecture for each task if that is wanted, and the baseline.

        The last value holds the same accuracies, task by task.
        """
        own = self.config.architecture == "per-task"
        self._total = 2 * len(trained) + own + 1
        self.emit(Event(phase="evaluate", kind="start", total=self._total))
        tested = {name: self._tested(name, alone, state) for name, (alone, state) in trained.items()}
        rows = tuple(self._row(name, _arch(alone), tested[name]) for name, (alone, _) in trained.items())
        per_task, by_task = self._per_task() if own else (None, ())
        baseline, tasks = baseline_accuracies(self.setup, self.config)
        record = TaskAccuracies(tasks=tasks, networks=tested, baseline=tuple(baseline), per_task=by_task)
        return rows, per_task, Accuracy.over(baseline), record

    def _tested(self, name: str, alone: Setup, state: State) -> NetworkAccuracies:
        zero_retrain, retrained = (
            self._told(name, task_accuracies(setup, weights, _arch(alone), self.config, self.executor))
            for setup, weights in ((self.setup, self.supernet), (alone, state))
        )
        return NetworkAccuracies(zero_retrain=zero_retrain, retrained=retrained)

    def _row(self, name: str, arch: Architecture, tested: NetworkAccuracies) -> NetworkResult:
        return NetworkResult(
            name=name,
            arch=arch,
            options=self.setup.space.options(arch),
            cost=self.cost(arch),
            zero_retrain=Accuracy.over(tested.zero_retrain),
            retrained=Accuracy.over(tested.retrained),
            inference=self.setup.inference(arch),
        )

    def _per_task(self) -> tuple[PerTask, tuple[float, ...]]:
        """Test each task with the architecture that the learner proposes for it, moved if it breaks a limit."""

        def fitted(proposal: Proposal, task: int) -> Architecture:
            return moved(proposal, task, self.feasibility, self.setup)

        proposals, used, found = evaluate_per_task(self.setup, self.supernet, fitted, self.config, self.executor)
        by_task = self._told("per task", found)
        return PerTask.of(proposals, used, [self.cost(arch) for arch in used], Accuracy.over(by_task)), by_task

    def _told(self, name: str, accuracies: Sequence[float]) -> tuple[float, ...]:
        self._done += 1
        values = {"network": name, "accuracy": Accuracy.over(accuracies).mean}
        self.emit(Event(phase="evaluate", kind="step", done=self._done, total=self._total, values=values))
        return tuple(accuracies)


def _arch(alone: Setup) -> Architecture:
    assert alone.alone is not None
    return alone.alone
