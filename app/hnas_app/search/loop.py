"""The loop of phase 3: ask the strategies, score, tell; recorded so that it can be replayed.

A search is a sweep of one. Several searches, for different devices and limits, run in lock-step and help each other. In
a space of 254 million networks, searches that run side by side hardly propose the same ones, so remembering scores
saves little. So each asks only for a share of a batch, and also receives the candidates of all others that are feasible
for it: their losses hold on every device. All scores that it receives are on record, so a sweep can be replayed.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from numbers import Integral

from attrs import define, evolve, frozen

from hnas.architecture import Architecture
from hnas.errors import ConfigError, PluginError, short
from hnas.events import Event, Listener
from hnas.strategy import Ask, Scored, SearchProblem, SearchStrategy
from hnas_app.executors.plugin_exit import wrong
from hnas_app.search.trace import SearchTrace

Evaluate = Callable[[int, Mapping[str, Ask], Mapping[Architecture, str]], Mapping[str, Sequence[Scored]]]
"""Scores the asks of iteration ``i`` by search, in order; also gets the search that proposed each architecture.

Scores must depend on the iteration and the architecture only.
"""


def nobody(event: Event) -> None:
    """Ignore an event."""


@frozen(kw_only=True)
class Search:
    """One search: a strategy and its problem, for a device and its limits, under a name of its own."""

    name: str = ""
    strategy: SearchStrategy
    problem: SearchProblem
    trace: SearchTrace | None = None
    emit: Listener = nobody
    """Receives an event for each iteration of this search."""
    plain: Callable[[Architecture], Architecture] = lambda arch: arch
    """Returns the form of a finalist that is scored beside it, see `Evaluator.finals`."""


def search(searches: Sequence[Search], evaluate: Evaluate, *, emit: Listener = nobody) -> dict[str, list[Scored]]:
    """Run the searches and return, by name, the scores of each one's last iteration.

    Iterations in a search's trace are read from there, not evaluated. Given a fresh ``problem.generator`` with the same
    seed, searches that were interrupted go on and end as they would have ended. Each further iteration is on disk
    before the strategy receives it. Each search emits a ``step`` of phase ``adapt`` for each of its iterations;
    ``emit`` receives one ``step`` for each iteration of all.

    Raises `PluginError` for a strategy that breaks its contract, `DataError` for a trace of another search.
    """
    for s in searches:
        s.strategy.start(s.problem)
    scored: dict[str, list[Scored]] = {}
    evaluated = dict.fromkeys((s.name for s in searches), 0)
    total = max(iterations_of(s.strategy) for s in searches)
    going, iteration = list(searches), 0
    while asks := {s.name: ask for s in going if (ask := s.strategy.ask()) is not None}:
        going = [s for s in going if s.name in asks]
        for s in going:
            check(s.strategy, s.problem, asks[s.name], iteration)
        batches = {s.name: joined(asks[s.name], asks.values(), s.problem.feasible) for s in going}
        recorded = {
            s.name: told
            for s in going
            if s.trace and (told := s.trace.recorded(iteration, batches[s.name])) is not None
        }
        missing = {name: batch for name, batch in batches.items() if name not in recorded}
        proposed_by = {a: name for name, ask in reversed(asks.items()) for a in ask.architectures}
        found = evaluate(iteration, missing, proposed_by) if missing else {}
        iteration += 1
        for s in going:
            if s.name in missing:
                scored[s.name] = _cleaned(missing[s.name], found[s.name])
                if s.trace is not None:
                    s.trace.append(iteration - 1, missing[s.name], scored[s.name])
            else:
                scored[s.name] = recorded[s.name]
            s.strategy.tell(scored[s.name])
            evaluated[s.name] += len(scored[s.name])
            replayed = s.name in recorded
            s.emit(_step(scored[s.name], iteration, s.strategy.iterations, evaluated[s.name], replayed=replayed))
        values = {"searches": len(going), "proposed": len(proposed_by)}
        emit(Event(phase="adapt", kind="step", done=iteration, total=total, values=values))
    for s in searches:
        if s.name not in scored:
            raise PluginError(f"strategy {_name(s.strategy)} ended without asking for an architecture")
    return scored


@define
class Given(SearchStrategy):
    """Asks for one network, that of ``search.architecture``."""

    arch: Architecture
    _asked: bool = False

    def start(self, problem: SearchProblem) -> None:
        self._asked = False

    def ask(self) -> Ask | None:
        asked, self._asked = self._asked, True
        return None if asked else Ask(architectures=(self.arch,))

    def tell(self, scored: Sequence[Scored]) -> None:
        pass

    @property
    def iterations(self) -> int:
        return 1


def iterations_of(strategy: SearchStrategy) -> int:
    """Return how many batches a strategy will ask for. Raises `PluginError` unless it is a whole number."""
    if not isinstance(found := strategy.iterations, Integral):
        raise wrong(strategy, "iterations", short(found), "a whole number")
    return int(found)


def joined(own: Ask, others: Iterable[Ask], feasible: Callable[[Architecture], bool]) -> Ask:
    """Return a search's own architectures, followed by those of the others that are feasible for it.

    Only those that are trained as long: other scores do not compare.
    """
    known = set(own.architectures)
    alike = [ask.architectures for ask in others if ask.train == own.train]
    rest = dict.fromkeys(a for archs in alike for a in archs if a not in known and feasible(a))
    return evolve(own, architectures=(*own.architectures, *rest))


def check(strategy: SearchStrategy, problem: SearchProblem, ask: Ask, iteration: int) -> None:
    """Raise `PluginError` unless the strategy asks for what `SearchStrategy.ask` allows."""
    where = f"strategy {_name(strategy)}, iteration {iteration}"
    if not isinstance(ask, Ask) or not isinstance(ask.architectures, tuple | list):
        raise wrong(strategy, "ask", short(ask), "an Ask with architectures, or None to end the search")
    if not all(isinstance(arch, Architecture) for arch in ask.architectures):
        raise wrong(strategy, "ask", short(ask.architectures), "architectures")
    if not isinstance(ask.keep, Integral | None):
        raise wrong(strategy, "ask", f"keep={short(ask.keep)}", "a whole number, or None")
    if not isinstance(ask.train, Integral):
        raise wrong(strategy, "ask", f"train={short(ask.train)}", "a whole number")
    if not 0 <= ask.train <= problem.max_train:
        raise PluginError(
            f"{where}: train={ask.train}, expected 0 to {problem.max_train} (`problem.max_train`)",
            hint="networks are trained no longer than in a re-training, retrain.epochs × retrain.iterations; those for "
            "a user's own pictures are scored with the super-net's weights only",
        )
    if not ask.architectures:
        raise PluginError(f"{where}: asked for no architecture, expected at least one (or None to end the search)")
    if ask.keep is not None and ask.keep < 1:
        raise PluginError(f"{where}: keep={ask.keep}, expected at least 1 (or None to have all scored in full)")
    for arch in ask.architectures:
        try:
            problem.space.check(arch)
        except ConfigError as mistake:
            raise PluginError(f"{where}: asked for {arch}: {mistake}") from mistake
        if not problem.feasible(arch):
            raise PluginError(
                f"{where}: asked for an architecture that breaks a constraint: {problem.space.options(arch)} costs "
                f"{dict(problem.cost(arch).values)}",
                hint="a strategy draws with `problem.sample_feasible`, or tests with `problem.feasible`",
            )


def _cleaned(ask: Ask, scored: Sequence[Scored]) -> list[Scored]:
    """Return the scores with an infinite loss in place of NaN: strategies sort by it."""
    if [s.arch for s in scored] != list(ask.architectures):
        raise ValueError("the evaluator must return one score for each architecture asked, in order")
    return [
        evolve(
            s,
            loss=float(s.loss) if not math.isnan(s.loss) else math.inf,
            accuracy=float(s.accuracy) if not math.isnan(s.accuracy) else 0.0,
        )
        for s in scored
    ]


def _step(scored: Sequence[Scored], done: int, total: int, evaluated: int, *, replayed: bool) -> Event:
    """Describe the iteration's best architecture; ``best_loss`` is ``None`` if no loss was finite."""
    best = min(scored, key=lambda s: (s.bound, s.loss))
    return Event(
        phase="adapt",
        kind="step",
        done=done,
        total=total,
        values={
            "best_loss": best.loss if math.isfinite(best.loss) else None,
            "best_accuracy": best.accuracy,
            "best_cost": dict(best.cost.values),
            "evaluated": evaluated,
            "replayed": replayed,
        },
    )


def _name(strategy: SearchStrategy) -> str:
    return f"{type(strategy).__module__}.{type(strategy).__qualname__}"
