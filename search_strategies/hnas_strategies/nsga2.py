"""NSGA-II (Deb et al., IEEE TEC 2002), by pymoo: the whole front of loss against one cost in a single search."""

from __future__ import annotations

import math
from collections.abc import Sequence

from attrs import frozen, validators

from hnas import Architecture, Ask, ConfigError, PluginError, Scored, SearchProblem, SearchStrategy
from hnas.errors import close_matches
from hnas.settings import positive, setting


@frozen(kw_only=True)
class NSGA2Options:
    """Options of `NSGA2`; population and iterations give the same budget as for `Genetic`."""

    population: int = setting(100, "architectures scored in an iteration", validators.ge(2))
    iterations: int = setting(200, "times that a pool is scored", positive)
    survivors: float = setting(
        0.5, "share of the pool that stays, by its place on the front, and is scored again", positive, validators.lt(1)
    )
    metric: str = setting("", "cost on the front's other axis; empty: the backend's first metric")
    mutations: int = setting(1, "randomly picked choices that a mutation changes, after the cross-over", positive)
    tries: int = setting(50, "rounds of mating for the places of a pool before fresh samples take them", positive)
    revisit: bool = setting(
        True, "ask again for children that were scored before; off for fixed tasks, which score them the same again"
    )


class NSGA2(SearchStrategy):
    """Keep a front of survivors, mate them, and score survivors and children on the same tasks.

    Objectives are the mean loss and one cost. Survival (non-dominated sorting, then crowding distance), the binary
    tournament and the mating loop are pymoo's, through its ask and tell; cross-over and mutation are in
    `nsga2_operators`, because most choices have no order. Limits are no objective: a child that breaks one is not asked
    for, so a limit on the metric cuts the front off there.

    Every iteration draws other tasks, and losses of different tasks cannot be compared: a network that had easy ones
    would stay on the front for ever. Therefore survivors are asked for again, and each survival compares losses on one
    slice. They count as part of the population: with ``survivors`` of 0.5, half of an iteration is new. On fixed tasks
    (``search.slice = "fixed"``) the memo makes survivors free, and without ``revisit`` all other candidates are new.

    Nothing may be stopped early (no ``keep``): whether a candidate is on the front depends on its loss and on its cost.
    The k lowest losses are not enough for any k. A network whose loss is infinite does not survive at any cost.
    """

    def __init__(self, options: NSGA2Options) -> None:
        try:
            from hnas_strategies.nsga2_operators import Mates
        except ImportError as cause:
            raise PluginError(
                f"strategy 'nsga2' needs pymoo, which cannot be imported: {cause}",
                hint="pip install 'hnas[nsga2]', or use --strategy genetic under several limits",
            ) from cause
        self._options, self._mates = options, Mates

    @property
    def iterations(self) -> int:
        return self._options.iterations

    def start(self, problem: SearchProblem) -> None:
        self._problem = problem
        self._metric = self._metric_of(problem)
        self._asked = 0
        self._known: set[Architecture] = set()
        self._mating = self._mates(
            problem, self._n_survivors, mutations=self._options.mutations, tries=self._options.tries, known=self._known
        )
        self._survivors: list[Architecture] = []

    def ask(self) -> Ask | None:
        if self._asked == self._options.iterations:
            return None
        self._asked += 1
        places = math.ceil(self._problem.share * (self._options.population - len(self._survivors)))
        children = self._mating.ask(places) if self._survivors else list(self._problem.known)
        return Ask(architectures=(*self._survivors, *self._filled(children, places)))

    def tell(self, scored: Sequence[Scored]) -> None:
        # A bound, from another search of a sweep, is no loss.
        full = [s for s in scored if math.isfinite(s.loss) and not s.bound]
        told = {s.arch: (s.loss, s.cost[self._metric]) for s in full}
        self._survivors = self._mating.tell(told) if told else []
        if not self._options.revisit:
            self._known.update(s.arch for s in scored)

    @property
    def _n_survivors(self) -> int:
        population = self._options.population
        return min(max(1, round(self._options.survivors * population)), population - 1)

    def _filled(self, children: list[Architecture], size: int) -> list[Architecture]:
        """Return children and, if they are too few, fresh feasible samples; none twice, nor among the survivors."""
        pool = dict.fromkeys(children)
        tries = self._options.tries * (size - len(pool))
        while len(pool) < size and tries:
            tries -= 1
            fresh = self._problem.sample_feasible(self._problem.generator)
            if fresh not in self._survivors and fresh not in self._known:
                pool[fresh] = None
        return list(pool)

    def _metric_of(self, problem: SearchProblem) -> str:
        known = list(problem.cost(problem.space.smallest()).values)
        metric = self._options.metric or known[0]
        if metric not in known:
            raise ConfigError(
                f"strategy.metric: unknown metric {metric!r}.{close_matches(metric, known)} "
                f"The backend and the space give: {', '.join(known)}"
            )
        return metric
