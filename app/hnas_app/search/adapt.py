"""Phase 3: search the architecture for new tasks on a device, with super-net weights (Algorithm 1 of the paper)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from attrs import evolve, field, frozen

from hnas.architecture import Architecture
from hnas.events import Event, Listener
from hnas.learner import State
from hnas.strategy import Ask, Scored
from hnas_app.search.evaluator import Evaluator
from hnas_app.search.loop import Search, nobody, search
from hnas_app.search.place import Place
from hnas_app.search.score_store import ScoreStore
from hnas_app.search.shares import shares


@frozen(kw_only=True)
class Adaption:
    """What a search found: the last population, and its best scored again on more tasks, best first.

    ``place`` says how sure it is that the first of them is the best.
    """

    population: tuple[Scored, ...]
    finalists: tuple[Scored, ...]
    place: Place | None = field(default=None, metadata={"formerly": "rank"})
    schema: int = 1

    @property
    def chosen(self) -> Scored:
        return self.finalists[0]


def adapt(
    searches: Sequence[Search], scores: ScoreStore, state: State, *, emit: Listener = nobody
) -> dict[str, Adaption]:
    """Search for one or more devices and limits, and return what each search found, by its name.

    Several share one super-net, one memory of scores and the tasks of an iteration; ``scores.spent`` counts who made
    which adaptions necessary. Iterations on record are not scored again. Each search's own listener hears of it,
    ``emit`` of all together.
    """
    total = max(s.strategy.iterations for s in searches)
    listeners = (emit, *(s.emit for s in searches))
    for listener in listeners:
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
    populations = search(sharing, evaluate, emit=emit)
    finals = scores.settle({name: evaluators[name].finals(population) for name, population in populations.items()})
    for listener in listeners:
        listener(Event(phase="adapt", kind="end", done=total, total=total))
    return {
        name: Adaption(population=tuple(populations[name]), finalists=tuple(finalists), place=place)
        for name, (finalists, place) in finals.items()
    }
