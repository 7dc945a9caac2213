"""A sweep at work: its pairs' run directories locked, their devices profiled, their searches in lock-step."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hnas.errors import ConfigError, HnasError, InfeasibleError
from hnas.toolkit.codec import save
from hnas_app.costs.description import described
from hnas_app.runs.run_dir import SWEEP, RunDir
from hnas_app.runs.session import chosen, setup_of
from hnas_app.search.limits import check_counted, check_names
from hnas_app.sweeps.record import Found, SweepPair, SweepRecord
from hnas_app.trackers.json_lines import JsonLines

if TYPE_CHECKING:
    from hnas.cost import Metric
    from hnas.discovery import Registry
    from hnas.events import Event, Listener
    from hnas_app.config.schema import Config
    from hnas_app.runs.pipeline import Pipeline
    from hnas_app.search.adapt import Adaption


@contextmanager
def sweep_session(
    folder: Path,
    configs: Mapping[str, Config],
    registry: Registry,
    *,
    emit: Listener,
    notify: Callable[[str], None],
    trackers: Sequence[str] = (),
) -> Iterator[dict[str, Pipeline]]:
    """Yield the pipeline of each pair by name, over one set-up and one set of workers; the caller has locked them.

    Events of a pair go to its ``metrics.jsonl``, to ``trackers`` of its own, and to ``emit`` except those of its
    search. Raises `PluginError` and `DataError`, as for a single run.
    """
    from hnas_app.runs.session import pipeline_of, told_settings, trackers_of, workers_of
    from hnas_app.trackers.listening import listening

    def tell(event: Event) -> None:
        if event.phase != "adapt":
            emit(event)

    first = next(iter(configs.values()))
    setup = setup_of(first, registry)
    made = {name: trackers_of(trackers, registry) for name in configs}
    with workers_of(first, notify) as workers, ExitStack() as held:
        listeners = {
            name: held.enter_context(listening(made[name], folder / name, told_settings(config), emit))
            for name, config in configs.items()
        }
        yield {
            name: pipeline_of(RunDir.open(folder / name), config, registry, setup, workers, tell, listeners[name])
            for name, config in configs.items()
        }


def run_sweep(folder: Path, record: SweepRecord, pipelines: Mapping[str, Pipeline], *, emit: Listener) -> SweepRecord:
    """Profile all devices, search for all pairs, and return the record with the networks; goes on where it stopped.

    Raises `ConfigError` or `InfeasibleError` that lists every pair whose limits cannot be used, before anything is
    scored, and what the phases raise.
    """
    from hnas_app.search.adapt import adapt
    from hnas_app.search.score_store import SCORES, ScoreStore
    from hnas_app.training.short import ShortTrainings

    first = next(iter(pipelines.values()))
    first.begin("adapt")
    profile_once(list(pipelines.values()))
    check_reachable(record.pairs, pipelines)
    proposals = first.proposals(folder)
    with ExitStack() as held:
        searches = []
        for number, (name, phases) in enumerate(pipelines.items()):
            held.enter_context(phases.run.running("adapt"))
            searches.append(phases.search(proposals, name, number))
        log = JsonLines(folder / SCORES, compact=True)
        trainings = ShortTrainings.of(RunDir(folder).checkpoints, first.config.retrain, emit)
        config = first.config.search.scoring
        scores = ScoreStore(setup=first.setup, executor=first.executor, config=config, log=log, trainings=trainings)
        found = adapt(searches, scores, proposals.state, emit=emit)
        for name, adaption in found.items():
            pipelines[name].adapted(adaption)
    done = record.finished({n: _row(pipelines[n], adaption, scores.spent[n]) for n, adaption in found.items()})
    save(folder / SWEEP, done)
    return done


def profile_once(pipelines: Sequence[Pipeline]) -> None:
    """Profile each device, one after the other; pairs on the same device take the table over."""
    tables: list[tuple[Any, Any]] = []
    for phases in pipelines:
        known = next((table for backend, table in tables if backend == phases.config.backend), None)
        if known is not None and not phases.run.is_done("profile"):
            save(phases.run.path / "profile.json", known)
            phases.run.set_phase("profile", "done")
        if known is None:
            tables.append((phases.config.backend, phases.profile()))


def check_pairs(pairs: Sequence[SweepPair], configs: Mapping[str, Config], registry: Registry) -> None:
    """Raise `ConfigError` that lists every pair with a limit that cannot be read, or whose metric or unit is wrong.

    Raises `InfeasibleError` for limits out of reach if that is known without the device. The devices are asked for
    their metrics; nothing is measured.
    """
    asked: dict[str, Sequence[Metric]] = {}
    for backend, config in {pair.backend: configs[pair.name] for pair in pairs}.items():
        with closing(chosen("backend", config, registry)) as device:
            asked[backend] = described(device).metrics
    setup = setup_of(next(iter(configs.values())), registry)
    _check_each(pairs, lambda pair: check_names(setup, configs[pair.name], asked[pair.backend]))
    _check_each(pairs, lambda pair: check_counted(setup, configs[pair.name]))


def check_reachable(pairs: Sequence[SweepPair], pipelines: Mapping[str, Pipeline]) -> None:
    """Raise `InfeasibleError` that lists every pair whose limits no architecture satisfies (or `ConfigError`)."""
    _check_each(pairs, lambda pair: pipelines[pair.name].limits)


def _check_each(pairs: Sequence[SweepPair], check: Callable[[SweepPair], object]) -> None:
    """Check every pair, and raise the mistakes of all in one `ConfigError`, or `InfeasibleError` if it is only that."""
    mistakes: list[tuple[SweepPair, HnasError]] = []
    for pair in pairs:
        try:
            check(pair)
        except (ConfigError, InfeasibleError) as mistake:
            mistakes.append((pair, mistake))
    if not mistakes:
        return
    kind = ConfigError if any(isinstance(m, ConfigError) for _, m in mistakes) else InfeasibleError
    told = "\n".join(f"{pair}: {mistake}" for pair, mistake in mistakes)
    hints = dict.fromkeys(m.hint if len(mistakes) == 1 else f"{pair}: {m.hint}" for pair, m in mistakes if m.hint)
    raise kind(f"{len(mistakes)} of {len(pairs)} pairs cannot be searched:\n{told}", hint="; ".join(hints) or None)


def _row(phases: Pipeline, adaption: Adaption, evaluations: int) -> Found:
    chosen = adaption.chosen
    return Found(
        arch=chosen.arch,
        options=phases.setup.space.options(chosen.arch),
        loss=chosen.loss,
        accuracy=chosen.accuracy,
        cost={m.column: chosen.cost[m.name] for m in phases.profile().metrics},
        place=adaption.place,
        evaluations=evaluations,
    )
