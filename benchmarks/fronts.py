"""Compare the fronts that searches find at equal numbers of adaptions: nsga2, genetic under several limits, random.

    hnas meta-train --preset quick --run-dir runs/supernet      # a super-net to search with, on glyphs
    python benchmarks/fronts.py runs/supernet --json            # 5 seeds; hours on two cores
    python benchmarks/fronts.py runs/supernet --slice fixed --seeds 3

An evaluation is one architecture really adapted to one task. The genetic search runs under each limit, one after the
other and to its end, and the limits share one memo (the same tasks in the same iterations), so what one of them had
adapted is free for the next: the best case for the paper's way. What all of them together cost is the budget of the two
others, which stop before the iteration that would exceed it. nsga2 and random run once, under the widest limit, each
with a memo of its own; random's candidates are scored in full.

Candidates are what `hnas front` takes: those of a last population that nothing in it beats in cost and loss, and its
ten best by loss; of random, the same out of all that it scored. They are scored again on common validation tasks that
no search saw; hypervolume is up to 1.1 of the widest limit and the loss of guessing, as a share of that area.
``chosen`` is the paper's way alone: one network for each limit, the best of its last population.
"""

from __future__ import annotations

import argparse
import json
import statistics
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from measuring import record, settle_environment

if __name__ == "__main__":
    settle_environment()

import attrs
import numpy as np

from hnas import Architecture, Ask, Scored, SearchProblem, SearchStrategy, Seeds
from hnas.cost import Metric
from hnas_app.cli.invocation import Invocation
from hnas_app.cli.terminal import at_terminal
from hnas_app.costs.limits import Limit
from hnas_app.fronts.dominance import Point, hypervolume, nondominated, reference_point
from hnas_app.fronts.scoring import Scores, score_all
from hnas_app.runs.pipeline import Pipeline
from hnas_app.search.evaluator import Evaluator
from hnas_app.search.feasibility import Feasibility
from hnas_app.search.loop import Search, search
from hnas_app.search.score_store import ScoreStore
from hnas_app.usecases.arguments import Given
from hnas_app.usecases.opening import continued
from hnas_strategies.genetic import Genetic, GeneticOptions
from hnas_strategies.nsga2 import NSGA2, NSGA2Options
from hnas_strategies.random_search import RandomSearch, RandomSearchOptions

SAMPLES = 1000
"""Random architectures whose costs the limits are quantiles of."""
FINALISTS = 10
ENDLESS = 10**6
"""Iterations of a search that its budget ends."""


class _Spent(Exception):
    """The next iteration would exceed the budget."""


@attrs.define(kw_only=True)
class Searcher:
    """Runs searches of one seed with one memo, and counts what they adapt."""

    phases: Pipeline
    seeds: Seeds
    metric: Metric
    settings: Any
    store: ScoreStore = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        setup = attrs.evolve(self.phases.setup, seeds=self.seeds)
        self.store = ScoreStore(setup=setup, executor=self.phases.executor, config=self.settings)
        self.store.start(self.phases.meta_train())

    @property
    def evaluations(self) -> int:
        return len(self.store.known)

    def run(
        self, strategy: SearchStrategy, limit: float, *, budget: int | None = None, in_full: bool = False
    ) -> list[list[Scored]]:
        """Return what each iteration of a search under ``limit`` scored; it ends where ``budget`` would be exceeded."""
        space, told = self.store.setup.space, list[list[Scored]]()
        evaluator = Evaluator(scores=self.store, cost=self.phases.cost)
        text = f"{self.metric.name}<={limit:.6g}{self.metric.unit}"
        feasibility = Feasibility(space, [Limit(metric=self.metric, value=limit, text=text)], self.phases.cost)
        problem = SearchProblem(
            space=space,
            feasible=feasibility.feasible,
            cost=self.phases.cost,
            sample_feasible=feasibility.sample,
            generator=self.seeds.numpy("search"),
        )

        def evaluate(iteration: int, asks: Mapping[str, Ask], _: object) -> dict[str, list[Scored]]:
            ((name, ask),) = asks.items()
            tasks = evaluator.slice(iteration)
            new = sum((a, t) not in self.store.known for a in ask.architectures for t in tasks)
            if budget is not None and self.evaluations + new > budget:
                raise _Spent
            told.append(evaluator(iteration, attrs.evolve(ask, keep=None) if in_full else ask))
            return {name: told[-1]}

        with suppress(_Spent):
            search([Search(strategy=strategy, problem=problem)], evaluate)
        return told


def candidates(scored: Sequence[Scored], metric: str) -> list[Architecture]:
    """Return the best by loss, and those that no other beats in cost and loss."""
    full = [s for s in scored if not s.bound]
    best = sorted(full, key=lambda s: s.loss)[:FINALISTS]
    front = [full[i] for i in nondominated([(s.cost[metric], s.loss) for s in full])]
    return list(dict.fromkeys(s.arch for s in (*best, *front)))


def search_all(phases: Pipeline, metric: Metric, limits: Sequence[float], seed: int, options: Any) -> dict[str, Any]:
    """Run the three ways with one seed; return, by name, candidates and what they cost."""
    settings = attrs.evolve(phases.config.search, slice=options.slice, tasks=options.tasks)

    def searcher() -> Searcher:
        return Searcher(phases=phases, seeds=Seeds(seed), metric=metric, settings=settings)

    size = {"population": options.population}
    again = {"revisit": options.slice == "fresh"}
    genetic, last = searcher(), []
    for limit in limits:
        strategy = Genetic(GeneticOptions(iterations=options.iterations, **again, **size))
        last.append(genetic.run(strategy, limit)[-1])
    budget = genetic.evaluations
    found: dict[str, Any] = {
        "genetic": {
            "archs": list(dict.fromkeys(a for scored in last for a in candidates(scored, metric.name))),
            "chosen": [min((s for s in scored if not s.bound), key=lambda s: s.loss).arch for scored in last],
            "evaluations": budget,
            "iterations": options.iterations * len(limits),
        }
    }
    others: dict[str, Callable[[], SearchStrategy]] = {
        "nsga2": lambda: NSGA2(NSGA2Options(iterations=ENDLESS, metric=metric.name, **again, **size)),
        "random": lambda: RandomSearch(RandomSearchOptions(iterations=ENDLESS, **size)),
    }
    for name, make in others.items():
        one = searcher()
        told = one.run(make(), max(limits), budget=budget, in_full=True)
        pool = told[-1] if name == "nsga2" else [s for scored in told for s in scored]
        found[name] = {
            "archs": candidates(pool, metric.name), "evaluations": one.evaluations, "iterations": len(told)
        }  # fmt: skip
    return found


def rows_of(found: Mapping[str, Any], scores: Scores, cost: Callable[[Architecture], float], corner: Point) -> Any:
    """Return a row for each way of one seed."""
    for name, way in found.items():
        points = {kind: [(cost(a), scores[a][0]) for a in way[kind]] for kind in ("archs", "chosen") if kind in way}
        area = corner[0] * corner[1]
        yield {
            "strategy": name,
            "evaluations": way["evaluations"],
            "iterations": way["iterations"],
            "candidates": len(way["archs"]),
            "on_the_front": len(nondominated(points["archs"])),
            "hypervolume": round(hypervolume(points["archs"], corner) / area, 5),
        } | ({"chosen": round(hypervolume(points["chosen"], corner) / area, 5)} if "chosen" in points else {})


def summary(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return each strategy's median, and how nsga2 does against the genetic sweep, seed by seed."""
    by: dict[str, list[float]] = {}
    for row in rows:
        by.setdefault(row["strategy"], []).append(row["hypervolume"])
    gains = [a - b for a, b in zip(by["nsga2"], by["genetic"], strict=True)]
    return {
        "median": {name: round(statistics.median(values), 5) for name, values in by.items()},
        "nsga2_over_genetic": round(statistics.median(gains), 5),
        "seeds_in_which_nsga2_is_not_below": sum(g >= 0 for g in gains),
        "seeds": len(gains),
    }


def compare(phases: Pipeline, options: argparse.Namespace) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Return a row for each seed and strategy, and what was the same for all."""
    setup, metrics = phases.setup, phases.profile().metrics
    metric = next(m for m in metrics if options.metric in ("", m.name))
    drawn = np.random.default_rng(0)
    costs = [phases.cost(setup.space.sample(drawn))[metric.name] for _ in range(SAMPLES)]
    limits = [float(np.quantile(costs, q)) for q in map(float, options.quantiles.split(","))]
    corner = reference_point(limits, setup.n_way)
    scores: dict[Architecture, Any] = {}
    rows: list[dict[str, Any]] = []
    for seed in range(options.seeds):
        found = search_all(phases, metric, limits, seed, options)
        new = [a for way in found.values() for a in (*way["archs"], *way.get("chosen", ())) if a not in scores]
        n_query = phases.config.evaluate.n_query
        scores |= score_all(
            setup, phases.meta_train(), new, phases.executor, tasks=options.common_tasks, n_query=n_query
        )  # fmt: skip
        for row in rows_of(found, scores, lambda a: phases.cost(a)[metric.name], corner):
            rows.append({"seed": seed, "slice": options.slice, **row})
            print(json.dumps(rows[-1]), flush=True)
    return rows, {
        "setting": f"{phases.config.tasks.name}, {setup.n_way}-way {setup.k_shot}-shot, {setup.space.name}",
        "metric": metric.column,
        "limits": limits,
        "reference_point": list(corner),
        "memo": "genetic: shared by its limits; nsga2 and random: one each",
        "population": options.population,
        "tasks": options.tasks,
        "common_tasks": options.common_tasks,
        "summary": summary(rows),
    }


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Compare the fronts of searches at equal numbers of adaptions.")
    parser.add_argument("run", type=Path, help="a run directory with a trained super-net")
    parser.add_argument("--metric", default="", help="cost on the front; by default the backend's first")
    parser.add_argument("--quantiles", default="0.1,0.3,0.5,0.7", help="limits, as quantiles of random costs")
    parser.add_argument("--slice", default="fresh", choices=("fresh", "fixed"))
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--population", type=int, default=40)
    parser.add_argument("--iterations", type=int, default=20, help="of the genetic search under each limit")
    parser.add_argument("--tasks", type=int, default=16, help="tasks of an iteration")
    parser.add_argument("--common-tasks", type=int, default=200, help="tasks that candidates are compared on")
    parser.add_argument("--json", action="store_true", help="write results/<name>.json")
    parser.add_argument("--name", default="fronts", help="name of the file below results/")
    options = parser.parse_args(arguments)
    with at_terminal(Invocation(), "{}") as caller, continued(caller, "adapt", options.run, Given()) as phases:
        rows, told = compare(phases, options)
    print(json.dumps(told["summary"], indent=1))
    if options.json:
        record(options.name, rows, **told)


if __name__ == "__main__":
    main()
