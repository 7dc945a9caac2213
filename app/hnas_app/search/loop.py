"""The loop of phase 3: ask the strategy, score, tell; recorded so that it can be replayed."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from attrs import evolve

from hnas.errors import ConfigError, PluginError
from hnas.events import Event, Listener
from hnas.strategy import Ask, Scored, SearchProblem, SearchStrategy
from hnas_app.search.trace import SearchTrace

Evaluate = Callable[[int, Ask], Sequence[Scored]]
"""Scores the architectures of iteration ``i``, in order; must depend on these two arguments only."""


def search(
    strategy: SearchStrategy,
    problem: SearchProblem,
    evaluate: Evaluate,
    *,
    trace: SearchTrace | None,
    emit: Listener,
) -> list[Scored]:
    """Run a whole search and return what its last iteration scored.

    Iterations that ``trace`` holds are told from there, not evaluated: given a fresh ``problem.generator`` with the
    same seed, a search that was interrupted goes on and ends as it would have ended. Each further iteration is on disk
    before the strategy hears of it. Emits one ``step`` of phase ``adapt`` for each iteration.

    Raises `PluginError` for a strategy that breaks its contract, `DataError` for a trace of another search.
    """
    strategy.start(problem)
    scored: list[Scored] = []
    evaluated = iteration = 0
    while (ask := strategy.ask()) is not None:
        check(strategy, problem, ask, iteration)
        recorded = trace.recorded(iteration, ask) if trace is not None else None
        if recorded is None:
            scored = cleaned(ask, evaluate(iteration, ask))
            if trace is not None:
                trace.append(iteration, ask, scored)
        else:
            scored = recorded
        strategy.tell(scored)
        evaluated += len(scored)
        iteration += 1
        emit(step(scored, iteration, strategy.iterations, evaluated, replayed=recorded is not None))
    if not scored:
        raise nothing_asked(strategy)
    return scored


def check(strategy: SearchStrategy, problem: SearchProblem, ask: Ask, iteration: int) -> None:
    """Raise `PluginError` unless the strategy asks for what `SearchStrategy.ask` allows."""
    where = f"strategy {_name(strategy)}, iteration {iteration}"
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


def cleaned(ask: Ask, scored: Sequence[Scored]) -> list[Scored]:
    """Return the scores with an infinite loss in place of one that is no number: strategies sort by it."""
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


def step(scored: Sequence[Scored], done: int, total: int, evaluated: int, *, replayed: bool) -> Event:
    """Describe the iteration's best architecture; ``best_loss`` is ``None`` where no loss was finite."""
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


def nothing_asked(strategy: SearchStrategy) -> PluginError:
    """Return the error of a strategy that ended before it began."""
    return PluginError(f"strategy {_name(strategy)} ended without asking for an architecture")


def _name(strategy: SearchStrategy) -> str:
    return f"{type(strategy).__module__}.{type(strategy).__qualname__}"
