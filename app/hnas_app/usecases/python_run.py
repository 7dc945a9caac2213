"""A run as a Python object: its results, its phases, and further uses of its super-net."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs
from attrs import field, frozen

from hnas.backend import HardwareBackend
from hnas.discovery import Registry
from hnas.errors import DataError
from hnas.events import Event, Listener
from hnas.strategy import SearchStrategy
from hnas_app.config.object_options import object_options
from hnas_app.runs.run_dir import RunDir
from hnas_app.usecases.arguments import Caller, Given, PathLike, absolute, absolute_if_given, explained, limits, nobody
from hnas_app.usecases.opening import at_work, branched, resolved

if TYPE_CHECKING:
    from pandas import DataFrame

    from hnas.cost import CostTable
    from hnas.learner import State
    from hnas_app.fronts.scoring import By
    from hnas_app.report.figures.picture import Picture
    from hnas_app.report.notebook import Rows
    from hnas_app.report.writing import Written
    from hnas_app.runs.pipeline import Pipeline
    from hnas_app.runs.results import NetworkResult, Results
    from hnas_app.search.adapt import Adaption
    from hnas_app.training.setup.setup import Setup
    from hnas_app.usecases.export import Exported
    from hnas_app.usecases.front import Fronts
    from hnas_app.usecases.own_task import AdaptedToPictures
    from hnas_app.usecases.sweep import Sweep


@frozen(kw_only=True, eq=False)
class Run:
    """A run directory. Made by `run`, `load_run` and `load_supernet`.

    Each method returns the result of its phase. Earlier phases are done first; finished ones are read from the disk.
    The directory is locked meanwhile. Any of them may raise `HnasError`, and can be called again afterwards.
    """

    path: Path
    """The run directory, absolute."""
    _given: Given = field(default=Given(workers=1, env={}), repr=False)
    _on_event: Listener | None = field(default=None, repr=False)

    # ---------------------------------------------------------------- what there is

    @property
    def phases(self) -> dict[str, str]:
        """The phases that were begun, and the state of each: ``running``, ``stopped`` or ``done``."""
        return RunDir(self.path).states()

    @property
    def results(self) -> Results:
        """Costs and accuracies of every network. Raises `DataError` if the run has none yet; see `evaluate`."""
        from hnas.toolkit.codec import load
        from hnas_app.runs.results import Results

        if not RunDir(self.path).is_done("evaluate"):
            done = [name for name, state in self.phases.items() if state == "done"]
            raise DataError(
                f"the run {self.path} has no results yet; done: {', '.join(done) or 'nothing'}",
                hint="evaluate() does what is still to do",
            )
        return load(self.path / "evaluate.json", Results)

    @property
    def found(self) -> NetworkResult:
        """The network that was found: the first one of `results`.

        Raises `DataError` if each test task had an architecture of its own.
        """
        if self.results.per_task is not None:
            raise DataError(f"the run {self.path} searched for no network: see results.per_task")
        return self.results.networks[0]

    def to_pandas(self, rows: Rows = "networks") -> DataFrame:
        """Return the networks of `results` as a data frame, or with ``"candidates"`` all that the search scored.

        Columns are costs under the names of the printed table, accuracies (0–1) with half the width of their 95 %
        intervals (``…_ci95``), and the options of the architecture (``arch.…``), or its genes (``arch.genes``) if its
        space is not known. A candidate's loss is ``at_least`` that if its scoring was stopped early. The last network
        is the nearest class mean.

        Raises `ConfigError` without ``hnas[pandas]``, and `DataError` if the run has none of these yet.
        """
        from hnas_app.report.notebook import frame

        with explained():
            return frame(self.path, rows, self._registry)

    def plot_front(self, metric: str | None = None) -> Picture:
        """Draw accuracy against cost, as the run's report does: candidates of the search, and tested networks.

        A notebook shows what is returned; its ``figure`` is matplotlib's, ``save(folder)`` writes SVG and PDF.
        ``metric`` is by default that of the first limit.

        Raises `ConfigError` for a metric that the run does not have, and `DataError` before a search.
        """
        from hnas_app.report.notebook import front_of

        with explained():
            return front_of(self.path, metric, self._registry)

    def _repr_html_(self) -> str:
        """Called by notebooks: the verdict, the table, and what is still to do."""
        from hnas_app.report.notebook import summary

        return summary(self.path, self._registry)

    @property
    def _registry(self) -> Registry:
        return caller_of(self._given, self._on_event).registry

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
        """Phase 3: search under the constraints, and return the last population and the finalists."""
        with self.session() as phases:
            return phases.adapt()

    def retrain(self) -> dict[str, tuple[Setup, State]]:
        """Phase 4: return each network trained alone, by name: its set-up in training, and its learnt state."""
        with self.session() as phases:
            return phases.retrain()

    def evaluate(self) -> Results:
        """Return every network's costs, and its accuracies on the test tasks."""
        with self.session() as phases:
            return phases.evaluate()

    @contextmanager
    def session(self) -> Iterator[Pipeline]:
        """Yield the run's `Pipeline`, for several phases in a row and for its other methods, such as `cost`.

        The directory stays locked meanwhile, and workers are started once.
        """

        from hnas_app.runs.super_net import called, is_unpacked

        with explained():
            if is_unpacked(run := RunDir.open(self.path)):
                raise DataError(
                    f"{called(run)} is read-only: it does no phase itself",
                    hint="branch() makes a run that starts from it; adapt_to() and sweep() make theirs",
                )
        with explained([self.path]):
            caller = caller_of(self._given, self._on_event)
            config = resolved(caller, self._given, quiet=True, file=run.config_path)
            if self._given.objects:
                run.check_config(config)
            with at_work(caller, config, run.locked()) as phases:
                yield phases

    # ---------------------------------------------------------------- further uses of the super-net

    def branch(
        self,
        *,
        backend: str | HardwareBackend | None = None,
        strategy: str | SearchStrategy | None = None,
        constraints: str | Sequence[str] | None = None,
        settings: Mapping[str, Any] | None = None,
    ) -> Run:
        """Make a run of other settings beside this one, which starts from its super-net: for another device or limit.

        Constraints that are given replace all former ones. Raises `DataError` if the super-net is not trained yet, and
        `ConfigError` if it was trained with other settings than those wanted.
        """
        given = self._changed(constraints, settings, backend=backend, strategy=strategy)
        changed = Given(backend=backend, strategy=strategy).objects
        with explained():
            caller = caller_of(given, self._on_event)
            own = RunDir.open(self.path)
            config = resolved(caller, given, file=own.config_path, instead=list(changed))
            with branched(caller, own, config) as new:
                pass
        again = Given(**given.objects, workers=config.workers, env={})
        return Run(path=new.path, given=again, on_event=self._on_event)

    def pick(self, number: int | None = None, *, arch: str | None = None) -> Run:
        """Make a run of another network than the one that was found; its `retrain` and `evaluate` train it.

        ``number`` is its place, from 1, among ``adapt().points``; ``arch`` a network of your own, as
        ``"kernel1=3,width1=8"``. Raises `ConfigError` for a number that there is not, or a network of another space.
        """
        from hnas_app.config.network_text import read_network
        from hnas_app.runs.session import chosen
        from hnas_app.usecases.phases import Wanted

        with explained():
            _, network = Wanted(number, arch).of(self.path)
            caller = caller_of(self._given, None)
            config = resolved(caller, self._given, quiet=True, file=RunDir.open(self.path).config_path)
            read_network(chosen("space", config, caller.registry), network, "arch")
        return self.branch(settings={"search.architecture": network})

    def adapt_to(
        self,
        pictures: PathLike,
        *,
        backend: str | None = None,
        strategy: str | None = None,
        constraints: str | Sequence[str] | None = None,
        settings: Mapping[str, Any] | None = None,
        invert: bool | None = None,
        retrain: bool = False,
        model: PathLike | None = None,
    ) -> AdaptedToPictures:
        """Find a network for a task of your own and adapt it, as ``hnas adapt --pictures`` does.

        ``pictures`` is a folder whose folders are the classes, each with a few labelled pictures; those in its
        ``query/`` test the network. The search is done in a run beside this one, which the same call goes on with.
        ``invert`` turns dark into bright, by default as the super-net's drawings were; ``retrain`` trains the chosen
        network alone first; ``model`` is where to write it as an ONNX model, besides the run.

        Raises `DataError` for a folder that is no task, and `ConfigError` for more classes than the super-net serves.
        """
        from hnas_app.usecases.own_task import OwnTask, adapt_to

        given = self._changed(constraints, settings, backend=backend, strategy=strategy)
        model = absolute_if_given(model)
        wanted = OwnTask(pictures=absolute(pictures), invert=invert, retrain=retrain, model=model)
        with explained():
            return adapt_to(caller_of(self._given, self._on_event), self.path, wanted, given, own=self._given)

    def sweep(
        self,
        *,
        backends: str | Sequence[str] = (),
        constraints: str | Sequence[str] = (),
        strategy: str | None = None,
        settings: Mapping[str, Any] | None = None,
        resume: PathLike | None = None,
    ) -> Sweep:
        """Search for every pair of a backend and a set of limits at once, as ``hnas adapt`` with several does.

        Each text of ``constraints`` is a set of limits that must hold together, such as ``"params<=70K,macs<=2M"``.
        Without ``backends`` or ``constraints`` the run's own are taken. The sweep's folder is made beside this run and
        holds a run for each pair; ``resume`` is the folder of a sweep to go on with; then nothing else is given.

        Raises `ConfigError` or `InfeasibleError` that names every pair which cannot be searched for, before anything
        is scored.
        """
        from hnas_app.usecases.sweep import Pairs, sweep

        pairs = Pairs(backends=_several(backends), constraints=_several(constraints))
        given = self._changed(None, settings, strategy=strategy)
        path = self.path if resume is None else absolute(resume)
        begun: list[Path] = []
        with explained():
            caller = attrs.evolve(caller_of(self._given, self._on_event), began=begun.append)
            try:
                return sweep(caller, path, pairs, given, own=self._given)
            except BaseException as error:
                if begun and begun[0].is_dir():
                    error.add_note(f"to go on: run.sweep(resume={str(begun[0])!r})")
                raise

    def front(
        self,
        *others: Run | PathLike,
        metric: str | None = None,
        by: By = "loss",
        tasks: int = 200,
        picture: PathLike | None = None,
    ) -> Fronts:
        """Compare the networks of this run and others on common tasks, as ``hnas front`` does.

        The others are runs, their folders, or folders of sweeps; all must share one super-net. There is one front for
        each device, of ``metric`` (by default the device's first) against ``by``, ``"loss"`` or ``"error"``. The
        picture is a PNG or SVG file, by default ``front.png`` in this run.

        Raises `ConfigError` for runs that do not compare, and `DataError` for those that have no finished search.
        """
        from hnas_app.usecases.front import front

        paths = [self.path, *(other.path if isinstance(other, Run) else absolute(other) for other in others)]
        picture = absolute_if_given(picture)
        with explained():
            caller = caller_of(self._given, self._on_event)
            return front(caller, paths, self._given, metric=metric, by=by, tasks=tasks, picture=picture)

    def export(
        self,
        folder: PathLike | None = None,
        *,
        pictures: PathLike | None = None,
        invert: bool | None = None,
        check: bool = False,
    ) -> Exported:
        """Write the network that was found as an ONNX model and as JSON, as ``hnas export`` does.

        It is adapted to ``pictures`` first, or to those that the run was made for, else to the first validation task.
        ``folder`` is ``export/`` in the run by default; ``check`` also measures the model's latency.

        Raises `ConfigError` without ``hnas[onnx]``, and `DataError` before a search has found a network.
        """
        from hnas_app.usecases.export import export

        folder, pictures = absolute_if_given(folder), absolute_if_given(pictures)
        with explained():
            caller, given = caller_of(self._given, self._on_event), self._given
            return export(caller, self.path, given, pictures=pictures, invert=invert, folder=folder, check=check)

    def report(
        self,
        *others: Run | PathLike,
        out: PathLike | None = None,
        figures: PathLike | None = None,
        mixed: bool = False,
    ) -> Written:
        """Write a page of this run, and of others, as ``hnas report`` does; an unfinished run shows what there is.

        ``out`` is by default ``report.html`` in the run; ``figures`` is a folder for the figures as SVG and PDF.
        Raises `ConfigError` for runs of other tasks or counts, unless ``mixed``, and `DataError` if it cannot write.
        """
        from hnas_app.report.writing import write_report

        paths = [self.path, *(other.path if isinstance(other, Run) else absolute(other) for other in others)]
        with explained():
            page, folder = absolute_if_given(out), absolute_if_given(figures)
            return write_report(paths, page, folder, mixed=mixed, registry=self._registry)

    def _changed(
        self, constraints: str | Sequence[str] | None, settings: Mapping[str, Any] | None, **plugins: Any
    ) -> Given:
        """Return the run's own arguments, with the changes; its number of workers gives way to one in ``settings``."""
        changes = {kind: plugin for kind, plugin in plugins.items() if plugin is not None}
        if (settings or {}).get("workers") is not None:
            changes["workers"] = None
        single = None if constraints is None else limits(constraints)
        return attrs.evolve(self._given, constraints=single, settings=settings or {}, **changes)


def caller_of(given: Given, listener: Listener | None) -> Caller:
    """Return the caller of a use case from Python: its notes are events of the whole run, its objects are plugins.

    Raises `PluginError` for an object that does not implement its kind's interface.
    """
    emit = listener or nobody

    def note(text: str) -> None:
        emit(Event(phase="run", kind="note", text=text))

    registry = Registry(warn=note)
    for kind, instance in given.objects.items():
        registry.add(kind, instance, object_options(instance))
    return Caller(registry=registry, emit=emit, note=note, root=Path.cwd() / "runs")


def _several(texts: str | Sequence[str]) -> tuple[str, ...]:
    return (texts,) if isinstance(texts, str) else tuple(texts)
