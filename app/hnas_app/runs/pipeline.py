"""A whole run: the phases in turn, each leaving its artefact in the run directory and taken up where it stopped."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

from attrs import define, field

from hnas.architecture import Architecture
from hnas.backend import HardwareBackend
from hnas.cost import Cost, CostTable
from hnas.events import Event, Listener
from hnas.learner import State
from hnas.strategy import SearchProblem, SearchStrategy
from hnas.toolkit.codec import load, save, to_json
from hnas_app.config.schema import Config, MetaTrainConfig, RetrainConfig
from hnas_app.costs.closing import given_back
from hnas_app.costs.description import described
from hnas_app.costs.limits import Constraint, Limit, resolve
from hnas_app.costs.profile import profile
from hnas_app.costs.store import CostStore
from hnas_app.executors.interface import Executor
from hnas_app.runs.results import NetworkResult, PerTask, Results, protocol
from hnas_app.runs.run_dir import RunDir
from hnas_app.runs.tasks_check import DRAWING, check_tasks
from hnas_app.search.adapt import Adaption, adapt
from hnas_app.search.compared import SCALED, Compared, compared, reference_of
from hnas_app.search.feasibility import Feasibility
from hnas_app.search.limits import check_names, limits_of
from hnas_app.search.loop import Search
from hnas_app.search.proposals import PROPOSALS, Proposals, moved
from hnas_app.search.scaled import scaled
from hnas_app.search.score_store import SCORES, ScoreStore
from hnas_app.search.trace import SearchTrace
from hnas_app.trackers.json_lines import JsonLines
from hnas_app.training.best import kept
from hnas_app.training.evaluate import evaluate, evaluate_baseline, evaluate_per_task
from hnas_app.training.meta_train import PHASE, meta_train, super_net_misfit
from hnas_app.training.race import FILE, Race, entrants, mean_accuracy, race
from hnas_app.training.retrain import retrain
from hnas_app.training.setup.setup import Setup
from hnas_app.training.short import ShortTrainings, longest

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
        if self._searches:
            self.adapt()
        assert self.limits  # as in `adapt`
        return self._once("retrain", self._retrain_all)

    def evaluate(self) -> Results:
        """Test every network on the same test tasks; the artefact is ``evaluate.json``, and `RunDir` holds the same."""
        self.begin("evaluate")
        self.retrain()
        return self._once("evaluate", self._evaluate, Results)

    # ---------------------------------------------------------------- what they share

    @cached_property
    def reference(self) -> tuple[str, Architecture] | None:
        """The network to measure limits by: the configuration's, or the space's own."""
        return reference_of(self.setup, self.config)

    @cached_property
    def limits(self) -> tuple[Limit, ...]:
        """The constraints in the device's units; checked to be reachable."""
        metrics = self.profile().metrics
        texts = limits_of(self.setup, self.config, metrics)
        reference = self.cost(self.reference[1]) if self.reference else None
        limits = resolve(Constraint.parse_all(texts), metrics, reference)
        Feasibility(self.setup.space, limits, self.cost).ensure_reachable()
        return limits

    def cost(self, arch: Architecture) -> Cost:
        """Return the costs of an architecture on the device, by a table look-up."""
        return self.profile().cost(self.setup.space.layers(arch, self.setup.image_shape, self.setup.n_way))

    def search(self, proposals: Proposals, name: str = "", *counter: int) -> Search:
        """Return this run's search, with its trace; a sweep distinguishes its searches by name and ``counter``."""
        feasibility = Feasibility(self.setup.space, self.limits, self.cost)
        problem = SearchProblem(
            space=self.setup.space,
            feasible=feasibility.feasible,
            cost=self.cost,
            sample_feasible=feasibility.sample,
            generator=self.setup.seeds.numpy("search", *counter),
            known=self._known(feasibility),
            max_train=0 if self.setup.given is not None else longest(self.config.retrain),
            proposals=proposals.within(feasibility),
        )
        trace = SearchTrace(self.run.path / "search.jsonl")
        return Search(name=name, strategy=self.strategy, problem=problem, trace=trace, emit=self.emit)

    def _known(self, feasibility: Feasibility) -> tuple[Architecture, ...]:
        """Return what a strategy's first batch may hold."""
        if self.config.search.start == "random" or self.reference is None:
            return ()
        arch = scaled(self.setup.space, self.reference[1], feasibility.feasible)
        return () if arch is None else (arch,)

    def proposals(self, folder: Path) -> Proposals:
        """Return the store of the learner's proposals, with its log in a folder."""
        log = JsonLines(folder / PROPOSALS, compact=True)
        return Proposals(setup=self.setup, executor=self.executor, state=self.meta_train(), log=log)

    def adapted(self, found: Adaption) -> None:
        """Save what a search found as the result of this run's phase 3."""
        save(self.run.path / "adapt.json", found)
        self._kept["adapt"] = found

    def weights(self, arch: Architecture, *, alone: bool) -> tuple[Setup, State]:
        """Return the weights to adapt: the super-net's, or those of the network trained ``alone``."""
        name, found = self.found
        return self._retrain(name if arch == found else "found", arch) if alone else (self.setup, self.meta_train())

    def networks(self) -> dict[str, Architecture]:
        """Return the networks to train and test: ``found``, and those to compare with under their own names.

        Nothing is searched for if each test task gets an architecture of its own.
        """
        found = {"found": self.found[1]} if self._searches else {}
        return found | self.compared.networks

    @property
    def _searches(self) -> bool:
        return self.config.evaluate.architecture == "found"

    @property
    def found(self) -> tuple[str, Architecture]:
        """The network that was found: the name that it was trained by, and its architecture.

        It is the winner of the race if there was one, else the search's choice.
        """
        race = self.race_on_record()
        return race.winner if race else ("found", self.adapt().chosen.arch)

    def race_on_record(self) -> Race | None:
        """Return the race of the finalists as far as it has come, if there was one."""
        record = self.run.path / FILE
        return load(record, Race) if record.is_file() else None

    @cached_property
    def compared(self) -> Compared:
        """The networks to compare with."""
        return compared(self.setup, self.config, Feasibility(self.setup.space, self.limits, self.cost))

    # ---------------------------------------------------------------- how each is done

    def _meta_train(self) -> State:
        folder, config, done = self.run.checkpoints / PHASE, self.config.meta_train, self.run.is_done(PHASE)
        state = meta_train(self.setup, config, self.executor, folder=folder, emit=self.emit, finished=done)
        self._note_kept(PHASE, folder, config)
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
            setup=self.setup, executor=self.executor, config=self.config.search, log=log, trainings=trainings
        )
        proposals = self.proposals(self.run.path)
        (found,) = adapt([self.search(proposals)], scores, proposals.state).values()
        self.adapted(found)
        return found

    def _retrain_all(self) -> dict[str, tuple[Setup, State]]:
        if self._searches:
            self._race()
        trained: dict[Architecture, tuple[Setup, State]] = {}
        for name, arch in self.networks().items():
            if arch not in trained:  # what was found may be one of the others
                trained[arch] = self._retrain(self.found[0] if name == "found" else name, arch)
        return {name: trained[arch] for name, arch in self.networks().items()}

    def _race(self) -> None:
        """Let the finalists of the search race, and the scaled reference with them, unless they have done so."""
        config, done = self.config.retrain, self.run.is_done("retrain")
        networks = entrants([s.arch for s in self.adapt().finalists], config.finalists)
        scaled = self.compared.networks.get(SCALED)
        if scaled is not None and scaled not in networks.values():
            networks[SCALED] = scaled
        if config.finalists == 1 or len(networks) == 1 or done:
            return

        def accuracy_after(name: str, arch: Architecture, iterations: int) -> float:
            alone, state = self._retrain(name, arch, iterations)
            return mean_accuracy(alone, state, arch, config.race_tasks, self.config.search.n_query, self.executor)

        record, total = self.run.path / FILE, config.epochs * config.iterations

        def note(text: str) -> None:
            self.emit(Event(phase="retrain", kind="note", text=text))

        race(networks, accuracy_after, total, record, note)

    def _retrain(self, name: str, arch: Architecture, until: int | None = None) -> tuple[Setup, State]:
        phase, done = "retrain" if name == "found" else f"retrain {name}", self.run.is_done("retrain")
        folder, config = self.run.checkpoints / f"retrain-{name}", self.config.retrain
        trained = retrain(
            self.setup,
            self.meta_train(),
            arch,
            config,
            self.executor,
            phase=phase,
            folder=folder,
            emit=self.emit,
            finished=done,
            until=until,
        )
        if until is None:
            self._note_kept(phase, folder, config)
        return trained

    def _note_kept(self, phase: str, folder: Path, config: MetaTrainConfig | RetrainConfig) -> None:
        """Put into ``run.json`` where a training stopped, and what it kept, if it kept its best state."""
        noted = self.run.record().get("kept", {})
        if (config.keep_best or config.patience) and (found := kept(folder)) != noted.get(phase):
            self.run.update(kept={**noted, phase: found})

    def _evaluate(self) -> Results:
        config = self.config.evaluate
        rows: list[NetworkResult] = []
        trained = self.retrain()
        proposes = config.architecture == "per-task"
        total = 2 * len(trained) + proposes + 1
        self.emit(Event(phase="evaluate", kind="start", total=total))
        for name, (alone, state) in trained.items():
            arch = alone.alone
            assert arch is not None
            accuracies = []
            for setup, weights in ((self.setup, self.meta_train()), (alone, state)):
                accuracies.append(evaluate(setup, weights, arch, config, self.executor))
                done = 2 * len(rows) + len(accuracies)
                values = {"network": name, "accuracy": accuracies[-1].mean}
                self.emit(Event(phase="evaluate", kind="step", done=done, total=total, values=values))
            options, cost = self.setup.space.options(arch), self.cost(arch)
            zero_retrain, retrained = accuracies
            rows.append(
                NetworkResult(
                    name=name, arch=arch, options=options, cost=cost, zero_retrain=zero_retrain, retrained=retrained
                )
            )
        per_task = self._per_task() if proposes else None
        if per_task:
            values = {"network": "per task", "accuracy": per_task.accuracy.mean}
            self.emit(Event(phase="evaluate", kind="step", done=total - 1, total=total, values=values))
        baseline = evaluate_baseline(self.setup, config)
        results = Results(
            networks=tuple(rows),
            baseline=baseline,
            metrics=self.profile().metrics,
            limits=tuple(limit.text for limit in self.limits),
            protocol=protocol(self.config),
            missing=self.compared.missing,
            race=self.race_on_record(),
            per_task=per_task,
        )
        save(self.run.path / "evaluate.json", results)
        self.run.update(results={"accuracy": results.accuracy, **to_json(results)})
        self.emit(Event(phase="evaluate", kind="end", values={"accuracy": results.accuracy}))
        return results

    def _per_task(self) -> PerTask:
        """Test each task with the architecture that the learner proposes for it, moved if it breaks a limit."""
        feasibility = Feasibility(self.setup.space, self.limits, self.cost)

        def fitted(arch: Architecture, task: int) -> Architecture:
            return moved(arch, task, feasibility, self.setup)

        config = self.config.evaluate
        proposals, used, accuracy = evaluate_per_task(self.setup, self.meta_train(), fitted, config, self.executor)
        return PerTask.of(proposals, used, [self.cost(arch) for arch in used], accuracy)

    def _once(self, phase: str, do: Callable[[], T], artefact: type[T] | None = None, **hint: str) -> T:
        """Do a phase unless this process has done it, or its artefact is there; keep its state in the run's record."""
        if phase not in self._kept:
            path, done = self.run.path / f"{phase}.json", self.run.is_done(phase)
            with nullcontext() if done else self.run.running(phase):
                self._kept[phase] = load(path, artefact, **hint) if artefact and done and path.is_file() else do()
        kept: T = self._kept[phase]
        return kept
