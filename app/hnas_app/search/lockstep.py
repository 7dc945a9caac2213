"""Searches for several devices and limits in lock-step, which help each other: each is told what all had scored.

In a space of 254 million networks, searches that run side by side hardly propose the same ones, so remembering scores
spares little. Here each asks for a share of a batch only, and is told, besides, the candidates of all others that are
feasible for it: their losses hold on every device. What is told is on record, so a sweep can be replayed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

from attrs import frozen

from hnas.architecture import Architecture
from hnas.events import Event, Listener
from hnas.seeds import Seeds
from hnas.strategy import Ask, Scored, SearchProblem, SearchStrategy
from hnas_app.search.loop import check, cleaned, nothing_asked, step
from hnas_app.search.trace import SearchTrace

SAMPLES = 64
"""Feasible architectures drawn for each search, to see for how many of them the others have use."""
SPARE = 2.0
"""How many times over the candidates that a search has use for fill its batch; docs/sweeps.md says why."""

Evaluate = Callable[[int, Mapping[str, Ask], Mapping[Architecture, str]], Mapping[str, Sequence[Scored]]]
"""Scores what is asked in iteration ``i``, by search, in order; told as well which search proposed what."""


@frozen(kw_only=True)
class PairSearch:
    """The search of one pair, a device and its limits, under a name of its own."""

    name: str
    strategy: SearchStrategy
    problem: SearchProblem
    trace: SearchTrace | None
    emit: Listener
    """Hears of each iteration of this search."""


def sweep(searches: Sequence[PairSearch], evaluate: Evaluate, *, emit: Listener) -> dict[str, list[Scored]]:
    """Run the searches and return, by name, what the last iteration of each scored.

    As in `hnas_app.search.loop.search`, iterations on record are told from there; one alone does what that does. Emits
    one ``step`` of phase ``adapt`` for each iteration of all.

    Raises `PluginError` for a strategy that breaks its contract, `DataError` for a trace of another search.
    """
    for s in searches:
        s.strategy.start(s.problem)
    scored: dict[str, list[Scored]] = {}
    evaluated = dict.fromkeys((s.name for s in searches), 0)
    total = max(s.strategy.iterations for s in searches)
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
                scored[s.name] = cleaned(missing[s.name], found[s.name])
                if s.trace is not None:
                    s.trace.append(iteration - 1, missing[s.name], scored[s.name])
            else:
                scored[s.name] = recorded[s.name]
            s.strategy.tell(scored[s.name])
            evaluated[s.name] += len(scored[s.name])
            replayed = s.name in recorded
            s.emit(step(scored[s.name], iteration, s.strategy.iterations, evaluated[s.name], replayed=replayed))
        values = {"searches": len(going), "proposed": len(proposed_by)}
        emit(Event(phase="adapt", kind="step", done=iteration, total=total, values=values))
    for s in searches:
        if s.name not in scored:
            raise nothing_asked(s.strategy)
    return scored


def joined(own: Ask, others: Iterable[Ask], feasible: Callable[[Architecture], bool]) -> Ask:
    """Return what a search asks for, followed by what is feasible for it of what the others ask for."""
    archs = dict.fromkeys(own.architectures)
    archs.update(dict.fromkeys(a for ask in others for a in ask.architectures if feasible(a)))
    return Ask(architectures=tuple(archs), keep=own.keep)


def shares(problems: Sequence[SearchProblem], seeds: Seeds) -> list[float]:
    """Return which part of a batch each search needs to ask for itself: 1 for one that is alone.

    The more of the others' candidates it has use for, the less. Those of another search are of use where many of its
    feasible networks are feasible here, and the other way round: what fits into much tighter limits is feasible, but
    far from the best, and to tight limits hardly anything helps that was made for loose ones.
    """
    drawn = [
        [p.sample_feasible(generator) for _ in range(SAMPLES)]
        for p, generator in zip(problems, (seeds.numpy("sweep-share", i) for i in range(len(problems))), strict=True)
    ]
    fits = [[sum(map(p.feasible, archs)) / SAMPLES for archs in drawn] for p in problems]
    everyone = range(len(problems))
    return [
        min(1.0, SPARE / sum(min(fits[i][j], fits[j][i]) for j in everyone)) if len(problems) > 1 else 1.0
        for i in everyone
    ]
