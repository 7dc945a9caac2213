"""The Python API: a whole run in one call, and earlier runs by their folder; for scripts and notebooks.

Nothing is printed, no signal handler is set, and torch's threads are given back. Progress goes to a callback, errors
are `HnasError`. It does what the command line does, in the same run directories, so either goes on with the other's.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

from attrs import field, frozen

from hnas.backend import HardwareBackend
from hnas.errors import ConfigError, DataError, close_matches
from hnas.events import Listener
from hnas.learner import MetaLearner
from hnas.space import SearchSpace
from hnas.strategy import SearchStrategy
from hnas.task_source import TaskSource
from hnas_app.runs.run_dir import RunDir
from hnas_app.usecases.arguments import GivenPlugins, PathLike, absolute, explained, limits, noting

if TYPE_CHECKING:
    from hnas.cost import CostTable
    from hnas.learner import State
    from hnas_app.runs.pipeline import Pipeline
    from hnas_app.runs.results import NetworkResult, Results
    from hnas_app.search.adapt import Adaption
    from hnas_app.training.setup.setup import Setup

PhaseName = Literal["meta-train", "profile", "adapt", "retrain", "evaluate"]
PHASES: tuple[PhaseName, ...] = get_args(PhaseName)


def _or_nobody(listener: Listener | None) -> Listener:
    return listener or (lambda event: None)


def run(
    *,
    space: str | SearchSpace | None = None,
    backend: str | HardwareBackend | None = None,
    tasks: str | TaskSource | None = None,
    learner: str | MetaLearner | None = None,
    strategy: str | SearchStrategy | None = None,
    preset: str | None = None,
    constraints: str | Sequence[str] = (),
    seed: int | None = None,
    settings: Mapping[str, Any] | None = None,
    config: PathLike | None = None,
    run_dir: PathLike | None = None,
    workers: int = 1,
    on_event: Listener | None = None,
    until: PhaseName | None = "evaluate",
) -> Run:
    """Do a whole run as ``hnas run`` does, and return it with its results.

    A plugin is named as on the command line, or is an object that implements its interface. ``settings`` maps dotted
    keys to values, as in ``{"search.tasks": 12}``; ``config`` is a TOML file; what is not given comes from there, from
    ``HNAS_*`` variables, the preset and the defaults. ``constraints`` must all hold.

    ``run_dir`` is a new folder, or that of an earlier run, which goes on where it stopped; by default a new one below
    ``runs/``. ``until`` names the last phase to do; with ``None`` the run is only made. ``on_event`` is called in this
    thread with every `Event`; what it raises ends the run, which can be gone on with.

    ``workers`` is the number of worker processes, 0 one per core, 1 none: the default, since workers import what they
    compute with, and cannot import classes of a notebook. A script that asks for more needs
    ``if __name__ == "__main__":``.

    Raises `ConfigError` with all wrong settings at once, and any other `HnasError`.
    """
    if until is not None and until not in PHASES:
        raise ConfigError(f"until={until!r}.{close_matches(str(until), PHASES)} Phases: {', '.join(PHASES)}, or None")
    given = GivenPlugins(
        by_kind={"space": space, "backend": backend, "tasks": tasks, "learner": learner, "strategy": strategy}
    )
    arguments = {**(settings or {}), "preset": preset, "seed": seed, "constraints": limits(constraints) or None}
    folder = None if run_dir is None else absolute(run_dir)
    note = noting(_or_nobody(on_event))
    with explained():
        present = {k: v for k, v in arguments.items() if v is not None}
        loaded = given.load(given.registry(note), present, workers, file=config, run_dir=folder)
        told = list(loaded.notes)
        if folder is None:
            opened = RunDir.create(loaded.config, root=Path.cwd() / "runs")
        else:
            opened, changes = RunDir.resume_or_create(folder, loaded.config)
            told += changes
    for text in told:
        note(text)
    made = Run(path=opened.path, given=GivenPlugins(by_kind=given.objects), workers=workers, on_event=on_event)
    if until is not None:
        with made.session() as phases:
            getattr(phases, until.replace("-", "_"))()
    return made


def load_run(
    path: PathLike,
    *,
    space: SearchSpace | None = None,
    backend: HardwareBackend | None = None,
    tasks: TaskSource | None = None,
    learner: MetaLearner | None = None,
    strategy: SearchStrategy | None = None,
    workers: int = 1,
    on_event: Listener | None = None,
) -> Run:
    """Return an earlier run, whether it was made by the command line or from Python.

    Its results can be read as it is. To do further phases of a run that was given objects, give them again: they must
    be of the same classes, made with the same options. Raises `DataError` where ``path`` is no run directory.
    """
    with explained():
        opened = RunDir.open(absolute(path))
    given = GivenPlugins(
        by_kind={"space": space, "backend": backend, "tasks": tasks, "learner": learner, "strategy": strategy}
    )
    return Run(path=opened.path, given=given, workers=workers, on_event=on_event)


@frozen(kw_only=True, eq=False)
class Run:
    """A run directory. Made by `run` and `load_run`.

    Each method returns its phase's result, doing whatever is still to do before; what is done is read from the disk.
    Meanwhile the directory is locked. Any of them may raise `HnasError`, and can be called again afterwards.
    """

    path: Path
    """The run directory, absolute."""
    _given: GivenPlugins = field(factory=GivenPlugins, repr=False)
    _workers: int = field(default=1, repr=False)
    _on_event: Listener = field(default=None, converter=_or_nobody, repr=False)

    # ---------------------------------------------------------------- what there is

    @property
    def phases(self) -> dict[str, str]:
        """The phases that were begun, and the state of each: ``running``, ``stopped`` or ``done``."""
        return {name: phase["state"] for name, phase in RunDir(self.path).record()["phases"].items()}

    @property
    def results(self) -> Results:
        """Costs and accuracies of every network. Raises `DataError` where the run has none yet; see `evaluate`."""
        from hnas.toolkit.files import read_json
        from hnas_app.runs.records import from_json
        from hnas_app.runs.results import Results

        if not RunDir(self.path).is_done("evaluate"):
            done = [name for name, state in self.phases.items() if state == "done"]
            raise DataError(
                f"the run {self.path} has no results yet; done: {', '.join(done) or 'nothing'}",
                hint="evaluate() does what is still to do",
            )
        path = self.path / "evaluate.json"
        return from_json(read_json(path), Results, str(path))

    @property
    def found(self) -> NetworkResult:
        """The network that was found: the first one of `results`."""
        return self.results.networks[0]

    # ---------------------------------------------------------------- the phases

    def meta_train(self) -> State:
        """Phase 1: return the super-net's learnt state, tensors by name."""
        with self.session() as phases:
            return phases.meta_train()

    def profile(self) -> CostTable:
        """Phase 2: return the device's cost table."""
        with self.session() as phases:
            return phases.profile()

    def adapt(self) -> Adaption:
        """Phase 3: return what the search under the constraints found: its last population and the finalists."""
        with self.session() as phases:
            return phases.adapt()

    def retrain(self) -> dict[str, tuple[Setup, State]]:
        """Phase 4: return each network trained alone, by name: what it was trained with, and its learnt state."""
        with self.session() as phases:
            return phases.retrain()

    def evaluate(self) -> Results:
        """Return every network's costs, and its accuracies on the test tasks."""
        with self.session() as phases:
            return phases.evaluate()

    @contextmanager
    def session(self) -> Iterator[Pipeline]:
        """Hold the run's `Pipeline`, for several phases in a row and for what else it offers, such as `cost`.

        The directory stays locked meanwhile, and workers are started once.
        """
        from hnas_app.runs.session import session

        note = noting(self._on_event)
        with explained(self.path):
            opened, registry = RunDir.open(self.path), self._given.registry(note)
            loaded = self._given.load(registry, {}, self._workers, file=opened.config_path, env={})
            if self._given.objects:
                opened.check_config(loaded.config)
            with session(opened, loaded.config, registry, emit=self._on_event, notify=note) as phases:
                yield phases

    def branch(
        self,
        *,
        backend: str | HardwareBackend | None = None,
        strategy: str | SearchStrategy | None = None,
        constraints: str | Sequence[str] | None = None,
        settings: Mapping[str, Any] | None = None,
    ) -> Run:
        """Make a run of other settings beside this one, which starts from its super-net: for another device or limit.

        Constraints that are given take the place of all former ones. Raises `DataError` before the super-net is
        trained.
        """
        changed = GivenPlugins(by_kind={"backend": backend, "strategy": strategy})
        given = GivenPlugins(by_kind={**self._given.by_kind, **changed.by_kind})
        arguments = {**(settings or {}), **({} if constraints is None else {"constraints": limits(constraints)})}
        note = noting(self._on_event)
        with explained():
            own = RunDir.open(self.path)
            sources = {"file": own.config_path, "env": {}, "instead": changed.objects}
            loaded = given.load(given.registry(note), arguments, self._workers, **sources)
            for text in loaded.notes:
                note(text)
            new = own.branch(loaded.config)
        kept = GivenPlugins(by_kind=given.objects)
        return Run(path=new.path, given=kept, workers=self._workers, on_event=self._on_event)
