"""The last phase: every network of a run, and the baseline, tested on the same tasks."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from attrs import define, field

from hnas.architecture import Architecture
from hnas.cost import Cost
from hnas.events import Event, Listener
from hnas.learner import State
from hnas_app.config.schema import EvaluateConfig
from hnas_app.executors.interface import Executor
from hnas_app.runs.results import NetworkResult, PerTask
from hnas_app.search.feasibility import Feasibility
from hnas_app.search.proposals import moved
from hnas_app.training.accuracy import Accuracy
from hnas_app.training.evaluate import evaluate, evaluate_baseline, evaluate_per_task
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
    ) -> tuple[tuple[NetworkResult, ...], PerTask | None, Accuracy]:
        """Test networks that were trained alone, an architecture for each task if that is wanted, and the baseline."""
        own = self.config.architecture == "per-task"
        self._total = 2 * len(trained) + own + 1
        self.emit(Event(phase="evaluate", kind="start", total=self._total))
        rows = tuple(self._network(name, alone, state) for name, (alone, state) in trained.items())
        return rows, self._per_task() if own else None, evaluate_baseline(self.setup, self.config)

    def _network(self, name: str, alone: Setup, state: State) -> NetworkResult:
        arch = alone.alone
        assert arch is not None
        zero_retrain, retrained = (
            self._told(name, evaluate(setup, weights, arch, self.config, self.executor))
            for setup, weights in ((self.setup, self.supernet), (alone, state))
        )
        return NetworkResult(
            name=name,
            arch=arch,
            options=self.setup.space.options(arch),
            cost=self.cost(arch),
            zero_retrain=zero_retrain,
            retrained=retrained,
            inference=self.setup.inference(arch),
        )

    def _per_task(self) -> PerTask:
        """Test each task with the architecture that the learner proposes for it, moved if it breaks a limit."""

        def fitted(arch: Architecture, task: int) -> Architecture:
            return moved(arch, task, self.feasibility, self.setup)

        proposals, used, accuracy = evaluate_per_task(self.setup, self.supernet, fitted, self.config, self.executor)
        return PerTask.of(proposals, used, [self.cost(arch) for arch in used], self._told("per task", accuracy))

    def _told(self, name: str, accuracy: Accuracy) -> Accuracy:
        self._done += 1
        values = {"network": name, "accuracy": accuracy.mean}
        self.emit(Event(phase="evaluate", kind="step", done=self._done, total=self._total, values=values))
        return accuracy
