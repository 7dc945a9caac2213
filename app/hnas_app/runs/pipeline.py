"""A whole run: the phases in turn, each leaving its artefact in the run directory and taken up where it stopped."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

from attrs import define, evolve, field

from hnas.architecture import Architecture
from hnas.backend import HardwareBackend
from hnas.cost import Cost, CostTable
from hnas.events import Event, Listener
from hnas.layer import Layer
from hnas.learner import State
from hnas.strategy import SearchProblem, SearchStrategy
from hnas.supernet import Params
from hnas.toolkit.codec import load, save, to_json
from hnas_app.config.schema import Config
from hnas_app.costs.closing import given_back
from hnas_app.costs.description import described
from hnas_app.costs.limits import Limit
from hnas_app.costs.profile import profile
from hnas_app.costs.steadiness import is_unsteady
from hnas_app.costs.store import CostStore
from hnas_app.executors.interface import Executor
from hnas_app.runs.alone import Alone, note_kept
from hnas_app.runs.evaluation import Evaluation
from hnas_app.runs.results import ACCURACIES, Results, protocol
from hnas_app.runs.run_dir import RunDir
from hnas_app.runs.tasks_check import DRAWING, check_tasks
from hnas_app.search.adapt import Adaption, adapt
from hnas_app.search.compared import SCALED, Compared, compared, known, reference_of
from hnas_app.search.feasibility import Feasibility
from hnas_app.search.finalists import plain
from hnas_app.search.limits import check_names, within_limits
from hnas_app.search.loop import Search
from hnas_app.search.proposals import PROPOSALS, Proposals, prices
from hnas_app.search.score_store import SCORES, ScoreStore
from hnas_app.search.trace import SearchTrace
from hnas_app.trackers.json_lines import JsonLines
from hnas_app.training.meta_train import PHASE, meta_train, super_net_misfit
from hnas_app.training.race import FOUND
from hnas_app.training.setup.setup import Setup
from hnas_app.training.short import ShortTrainings, longest
from hnas_app.training.standing import Standing, standing

T = TypeVar("T")


@define(kw_only=True, eq=False, slots=False)
class Pipeline:
    """Runs the phases of one run directory. Each method does the work still missing and returns its result.

    A phase does the earlier phases that it needs, so any of them can be called. Nothing is done twice: a finished phase
    is read from its artefact.
    """

    run: RunDir
    config: Config
    setup: Setup
    strategy: SearchStrategy
    open_backend: Callable[[], HardwareBackend]
    executor: Executor
    emit: Listener
    _kept: dict[str, Any] = field(factory=dict, init=False)

    # ---------------------------------------------------------------- the phases

    def begin(self, phase: str) -> None:
        """Check the tasks of all unfinished phases, and a finished super-net's weights, unless ``phase`` is done.

        The first call does, before any work.
        """
        if self.setup.given is None and "begin" not in self._kept and not self.run.is_done(phase):
            self.check_tasks([p for p in DRAWING if not self.run.is_done(p)])
            self._kept["begin"] = True
            if self.run.is_done(PHASE) and (misfit := self.setup.misfit(self.meta_train())):
                raise super_net_misfit(self.run.path, self.config.learner.name, misfit)

    def check_tasks(self, phases: Sequence[str]) -> None:
        """Check that the tasks of some phases can be drawn, from the classes that the run was trained with."""
        self.setup = check_tasks(self.setup, self.run, self.config, phases, self.emit)

    def meta_train(self) -> State:
        """Phase 1: return the super-net's learnt state."""
        self.begin(PHASE)
        return self._once(PHASE, self._meta_train)

    def profile(self) -> CostTable:
        """Phase 2: return the device's cost table; the artefact is ``profile.json``."""
        return self._once("profile", self._profile, CostTable, hint="run `hnas profile` to make it again")

    def adapt(self) -> Adaption:
        """Phase 3: search under the limits; artefacts are ``search.jsonl``, ``scores.jsonl`` and ``adapt.json``."""
        self.begin("adapt")
        assert self.limits  # an unreachable limit raises before hours of training
        self.meta_train()
        return self._once("adapt", self._adapt, Adaption)

    def retrain(self) -> dict[str, tuple[Setup, State]]:
        """Phase 4: train the chosen architecture, and those to compare with by the same budget, each alone."""
        self.begin("retrain")
        assert self.limits  # as in `adapt`
        alone = self.alone
        if alone.searches:
            self.adapt()
        return self._once("retrain", alone.train_all)

    def evaluate(self) -> Results:
        """Test every network on the same test tasks; the artefact is ``evaluate.json``, and `RunDir` holds the same."""
        self.begin("evaluate")
        self.retrain()
        return self._once("evaluate", self._evaluate, Results)

    # ---------------------------------------------------------------- what they share

    @cached_property
    def feasibility(self) -> Feasibility:
        """Which architectures keep the limits; some do."""
        return within_limits(self.setup, self.config, self.profile().metrics, self.cost)

    @property
    def limits(self) -> tuple[Limit, ...]:
        """The constraints in the device's units; checked to be reachable."""
        return self.feasibility.limits

    @cached_property
    def compared(self) -> Compared:
        """The networks to compare with."""
        return compared(self.setup, self.config, self.feasibility)

    def cost(self, arch: Architecture) -> Cost:
        """Return the costs of a prediction on the device, by a table look-up."""
        table = self.profile()
        return self.setup.cost(arch, table.cost, table.metrics)

    def layers(self, arch: Architecture) -> Sequence[Layer]:
        """Return the layers of an architecture, for images and classes of the run's tasks."""
        return self.setup.space.layers(arch, self.setup.image_shape, self.setup.n_way)

    def search(self, proposals: Proposals, name: str = "", *counter: int) -> Search:
        """Return this run's search, with its trace; a sweep distinguishes its searches by name and ``counter``."""
        problem = SearchProblem(
            space=self.setup.space,
            feasible=self.feasibility.feasible,
            cost=self.cost,
            sample_feasible=self.feasibility.sample,
            generator=self.setup.seeds.numpy("search", *counter),
            known=known(self.setup, self.config, self.feasibility),
            max_train=0 if self.setup.given is not None else longest(self.config.retrain),
            proposals=proposals.priced(self._prices()).within(self.feasibility),
        )
        trace = SearchTrace(self.run.path / "search.jsonl")
        own, space, feasible = reference_of(self.setup, self.config), self.setup.space, self.feasibility.feasible
        return Search(
            name=name,
            strategy=self.strategy,
            problem=problem,
            trace=trace,
            emit=self.emit,
            plain=lambda arch: plain(space, arch, own[1], self.cost, feasible) if own else arch,
        )

    def _prices(self) -> Params:
        """Return what options cost, for the penalty of the strategy, as a share of the limits; empty without one."""
        if not self.strategy.penalty:
            return {}
        return prices(self.setup.supernet, self.profile(), self.limits, self.strategy.penalty)

    def proposals(self, folder: Path) -> Proposals:
        """Return the store of the learner's proposals, with its log in a folder."""
        log = JsonLines(folder / PROPOSALS, compact=True)
        return Proposals(setup=self.setup, executor=self.executor, state=self.meta_train(), log=log)

    def adapted(self, found: Adaption) -> Adaption:
        """Save what a search found as the result of this run's phase 3, with the standing of the super-net's scores."""
        if self.setup.given is None and not found.chosen.train:
            found = evolve(found, standing=self._standing(found.chosen.arch))
        for doubt in found.doubts:
            self.emit(Event(phase="adapt", kind="note", text=doubt))
        save(self.run.path / "adapt.json", found)
        metric = self.profile().metrics[0]
        self.run.update(found={"metric": metric.column, "cost": found.chosen.cost[metric.name]})
        self._kept["adapt"] = found
        return found

    def _standing(self, chosen: Architecture) -> Standing:
        n_tasks, n_query = self.config.search.final_tasks, self.config.search.n_query
        scaled = self.compared.networks.get(SCALED)
        return standing(self.setup, self.meta_train(), chosen, scaled, self.executor, n_tasks=n_tasks, n_query=n_query)

    @property
    def alone(self) -> Alone:
        """The networks that are trained alone."""
        return Alone(
            run=self.run,
            config=self.config,
            setup=self.setup,
            supernet=self.meta_train(),
            executor=self.executor,
            emit=self.emit,
            adapt=self.adapt,
            compared=self.compared.networks,
        )

    def weights(self, arch: Architecture, *, alone: bool) -> tuple[Setup, State]:
        """Return the weights to adapt: the super-net's, or those of the network trained ``alone``."""
        if not alone:
            return self.setup, self.meta_train()
        name, found = self.alone.found
        return self.alone.train(name if arch == found else FOUND, arch)

    # ---------------------------------------------------------------- how each is done

    def _meta_train(self) -> State:
        folder, config, done = self.run.checkpoints / PHASE, self.config.meta_train, self.run.is_done(PHASE)
        state = meta_train(self.setup, config, self.executor, folder=folder, emit=self.emit, finished=done)
        note_kept(self.run, PHASE, folder, config)
        return state

    def _profile(self) -> CostTable:
        def tell(text: str) -> None:
            self.emit(Event(phase="profile", kind="note", text=text))

        with given_back(self.open_backend(), tell) as backend, CostStore(notify=tell) as store:
            check_names(self.setup, self.config, described(backend).metrics)
            table = profile(
                backend, self.setup.space, self.setup.image_shape, self.setup.n_way, store=store, emit=self.emit
            )
        save(self.run.path / "profile.json", table)
        return table

    def _adapt(self) -> Adaption:
        log = JsonLines(self.run.path / SCORES, compact=True)
        trainings = ShortTrainings.of(self.run.checkpoints, self.config.retrain, self.emit)
        scores = ScoreStore(
            setup=self.setup, executor=self.executor, config=self.config.search.scoring, log=log, trainings=trainings
        )
        proposals = self.proposals(self.run.path)
        (found,) = adapt([self.search(proposals)], scores, proposals.state).values()
        return self.adapted(found)

    def _evaluate(self) -> Results:
        trained, alone = self.retrain(), self.alone
        tests = Evaluation(
            setup=self.setup,
            supernet=self.meta_train(),
            config=self.config.evaluate,
            executor=self.executor,
            emit=self.emit,
            cost=self.cost,
            feasibility=self.feasibility,
        )
        rows, per_task, baseline, tested = tests.all(trained)
        results = Results(
            networks=rows,
            baseline=baseline,
            metrics=self.profile().metrics,
            limits=tuple(limit.text for limit in self.limits),
            protocol=protocol(self.config),
            missing=(*self.compared.missing, *(f"{name}: {why}" for name, why in alone.diverged.items())),
            race=alone.raced,
            per_task=per_task,
            unsteady=tuple(row.name for row in rows if is_unsteady(self.profile(), self.layers(row.arch))),
        )
        save(self.run.path / ACCURACIES, tested)
        save(self.run.path / "evaluate.json", results)
        self.run.update(results={"accuracy": results.accuracy, **to_json(results)})
        self.emit(Event(phase="evaluate", kind="end", values={"accuracy": results.accuracy}))
        return results

    def _once(self, phase: str, do: Callable[[], T], artefact: type[T] | None = None, **hint: str) -> T:
        """Do a phase unless this process has done it, or its artefact is there; keep its state in the run's record."""
        if phase not in self._kept:
            path, done = self.run.path / f"{phase}.json", self.run.is_done(phase)
            with nullcontext() if done else self.run.running(phase):
                self._kept[phase] = load(path, artefact, **hint) if artefact and done and path.is_file() else do()
        kept: T = self._kept[phase]
        return kept
