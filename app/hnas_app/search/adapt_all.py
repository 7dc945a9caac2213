"""Phase 3 for several pairs of device and limits at once: one super-net, one memory of scores, one slice of tasks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from attrs import evolve

from hnas.architecture import Architecture
from hnas.events import Event, Listener
from hnas.learner import State
from hnas.strategy import Ask, Scored
from hnas_app.search.adapt import Adaption
from hnas_app.search.evaluator import Evaluator
from hnas_app.search.lockstep import PairSearch, shares, sweep
from hnas_app.search.score_store import ScoreStore


def adapt_all(
    searches: Sequence[PairSearch], scores: ScoreStore, state: State, *, emit: Listener
) -> dict[str, Adaption]:
    """Search for all pairs in lock-step, and return what each found, by name; ``scores.spent`` counts what for whom.

    Iterations on record are not scored again. A pair alone gives exactly what `hnas_app.search.adapt.adapt` gives.
    """
    total = max(s.strategy.iterations for s in searches)
    for listener in (emit, *(s.emit for s in searches)):
        listener(Event(phase="adapt", kind="start", total=total))
    scores.start(state)
    evaluators = {s.name: Evaluator(scores=scores, cost=s.problem.cost) for s in searches}

    def evaluate(
        iteration: int, asks: Mapping[str, Ask], proposed_by: Mapping[Architecture, str]
    ) -> Mapping[str, Sequence[Scored]]:
        wanted = {name: evaluators[name].iteration(iteration, ask) for name, ask in asks.items()}
        return scores.settle(wanted, proposed_by)

    parts = shares([s.problem for s in searches], scores.setup.seeds)
    sharing = [evolve(s, problem=evolve(s.problem, share=part)) for s, part in zip(searches, parts, strict=True)]
    populations = sweep(sharing, evaluate, emit=emit)
    finals = scores.settle({name: evaluators[name].finals(population) for name, population in populations.items()})
    for listener in (emit, *(s.emit for s in searches)):
        listener(Event(phase="adapt", kind="end", done=total, total=total))
    return {
        name: Adaption(population=tuple(populations[name]), finalists=tuple(finalists), place=place)
        for name, (finalists, place) in finals.items()
    }
