"""Phase 3: search the architecture for new tasks on a device, with super-net weights (Algorithm 1 of the paper)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from attrs import evolve, field, frozen

from hnas.architecture import Architecture
from hnas.events import Event, Listener
from hnas.learner import State
from hnas.seeds import Seeds
from hnas.strategy import Ask, Scored, SearchProblem
from hnas_app.search.evaluator import Evaluator
from hnas_app.search.loop import Search, iterations_of, nobody, search
from hnas_app.search.place import Place
from hnas_app.search.score_store import ScoreStore
from hnas_app.training.standing import Standing

SAMPLES = 64
"""Feasible architectures drawn for each search, to see how many of them the others can use."""
SPARE = 2.0
"""How many times over the candidates that a search can use fill its batch; docs/sweeps.md explains why."""


@frozen(kw_only=True)
class Adaption:
    """The result of a search: the last population, and its best scored again on more tasks, best first.

    ``place`` states how certain it is that the first of them is the best, ``standing`` whether the super-net's scores
    can be trusted.
    """

    population: tuple[Scored, ...]
    finalists: tuple[Scored, ...]
    place: Place | None = field(default=None, metadata={"formerly": "rank"})
    standing: Standing | None = None
    """``None`` if the scores are of a user's own pictures, or of networks that were trained for them."""
    schema: int = field(default=2, metadata={"unsealed": 1})

    @property
    def doubts(self) -> tuple[str, ...]:
        """Why the scores should not be trusted, a sentence for each reason."""
        return self.standing.doubts if self.standing else ()

    @property
    def chosen(self) -> Scored:
        return self.finalists[0]

    @property
    def points(self) -> tuple[Scored, ...]:
        """The networks to pick from: the finalists, then the others of the last population that were scored in full.

        Their numbers, from 1, are those that commands print.
        """
        own = {s.arch for s in self.finalists}
        others = {s.arch: s for s in self.population if s.arch not in own and not s.bound}
        return (*self.finalists, *others.values())

    @property
    def weights(self) -> str:
        """The weights that the finalists were scored with, in words that follow "loss"."""
        train = self.chosen.train
        return f"after {train} iterations of training" if train else "with the super-net's weights"


def adapt(
    searches: Sequence[Search], scores: ScoreStore, state: State, *, emit: Listener = nobody
) -> dict[str, Adaption]:
    """Search for one or more devices and limits, and return the result of each search, by its name.

    Several share one super-net, one score store and the tasks of an iteration; ``scores.spent`` counts the adaptions
    that each one caused. Iterations on record are not scored again. Each search's own listener gets its events,
    ``emit`` those of all together.
    """
    total = max(iterations_of(s.strategy) for s in searches)
    listeners = (emit, *(s.emit for s in searches))
    for listener in listeners:
        listener(Event(phase="adapt", kind="start", total=total))
    scores.start(state)
    costs = {s.name: s.problem.cost for s in searches}
    fits = {s.name: s.problem.feasible for s in searches}
    plain = {s.name: s.plain for s in searches}

    def by_training(train: Mapping[str, int]) -> list[tuple[ScoreStore, list[str]]]:
        """Return the searches that ask for scores of equal training, each with their store; the shortest first."""
        return [(scores.after(n), [name for name in train if train[name] == n]) for n in sorted({*train.values()})]

    def evaluate(
        iteration: int, asks: Mapping[str, Ask], proposed_by: Mapping[Architecture, str]
    ) -> Mapping[str, Sequence[Scored]]:
        found: dict[str, Sequence[Scored]] = {}
        for store, names in by_training({name: ask.train for name, ask in asks.items()}):
            wanted = {n: Evaluator(scores=store, cost=costs[n]).iteration(iteration, asks[n]) for n in names}
            found |= store.settle(wanted, proposed_by)
        return found

    parts = shares([s.problem for s in searches], scores.setup.seeds)
    sharing = [evolve(s, problem=evolve(s.problem, share=part)) for s, part in zip(searches, parts, strict=True)]
    populations = search(sharing, evaluate, emit=emit)
    finals: dict[str, tuple[list[Scored], Place | None]] = {}
    for store, names in by_training({name: population[0].train for name, population in populations.items()}):
        ended = {n: Evaluator(scores=store, cost=costs[n]).finals(populations[n], fits[n], plain[n]) for n in names}
        finals |= store.settle(ended)
    if scores.trainings is not None:
        scores.trainings.end()
    for listener in listeners:
        listener(Event(phase="adapt", kind="end", done=total, total=total))
    return {
        name: Adaption(population=tuple(populations[name]), finalists=tuple(finalists), place=place)
        for name, (finalists, place) in finals.items()
    }


def shares(problems: Sequence[SearchProblem], seeds: Seeds) -> list[float]:
    """Return the part of a batch that each search needs to ask for itself: 1 for one that is alone.

    The more of the others' candidates it can use, the smaller its part. Those of another search are useful if many of
    its feasible networks are feasible here, and the other way round. Networks for much tighter limits are feasible, but
    far from the best; those for much looser limits are hardly ever feasible.
    """
    if len(problems) == 1:
        return [1.0]
    drawn = [
        [p.sample_feasible(generator) for _ in range(SAMPLES)]
        for p, generator in zip(problems, (seeds.numpy("sweep-share", i) for i in range(len(problems))), strict=True)
    ]
    fits = [[sum(map(p.feasible, archs)) / SAMPLES for archs in drawn] for p in problems]
    everyone = range(len(problems))
    return [min(1.0, SPARE / sum(min(fits[i][j], fits[j][i]) for j in everyone)) for i in everyone]
