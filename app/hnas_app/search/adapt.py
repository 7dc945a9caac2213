"""Phase 3: search the architecture for new tasks on a device, with super-net weights (Algorithm 1 of the paper)."""

from __future__ import annotations

from attrs import field, frozen

from hnas.events import Event, Listener
from hnas.learner import State
from hnas.strategy import Scored, SearchProblem, SearchStrategy
from hnas_app.search.evaluator import Evaluator
from hnas_app.search.loop import search
from hnas_app.search.place import Place
from hnas_app.search.trace import SearchTrace


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
    strategy: SearchStrategy,
    problem: SearchProblem,
    evaluator: Evaluator,
    state: State,
    *,
    trace: SearchTrace | None,
    emit: Listener,
) -> Adaption:
    """Search under the problem's constraints; iterations that ``trace`` holds are not scored again."""
    emit(Event(phase="adapt", kind="start", total=strategy.iterations))
    evaluator.scores.start(state)
    population = search(strategy, problem, evaluator, trace=trace, emit=emit)
    finalists, place = evaluator.scores.run(evaluator.finals(population))
    emit(Event(phase="adapt", kind="end", done=strategy.iterations, total=strategy.iterations))
    return Adaption(population=tuple(population), finalists=tuple(finalists), place=place)
