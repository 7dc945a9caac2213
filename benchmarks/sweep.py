"""Measure searching for several devices and limits together: what a pair costs, and what is lost, against alone.

    python benchmarks/sweep.py --json                                         # trains the super-net of `quick` first
    python benchmarks/sweep.py runs/supernet --backend eyeriss --backend table:pi4.json

Pairs are devices x limits at quantiles of the cost of random networks in the device's first metric. Each row cuts all
pairs, device after device, into sweeps of ``pairs`` pairs, so every row searches for the same pairs; ``pairs: 1`` are
separate searches. An evaluation is one (architecture, task) adaption really run, those of the finals included. Losses
are of the chosen networks on further validation tasks, that no search has seen; a gap is that of a pair to its separate
search.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from measuring import record, settle_environment

if __name__ == "__main__":
    settle_environment()

import attrs
import numpy as np
from attrs import frozen

from hnas import Architecture, SearchProblem
from hnas.cost import Cost, CostTable
from hnas.learner import State
from hnas_app.cli.invocation import Invocation
from hnas_app.cli.terminal import at_terminal
from hnas_app.costs.limits import Limit
from hnas_app.costs.profile import profile
from hnas_app.costs.store import CostStore
from hnas_app.executors.interface import Executor
from hnas_app.runs.pipeline import Pipeline
from hnas_app.runs.session import chosen
from hnas_app.search.adapt import adapt
from hnas_app.search.feasibility import Feasibility
from hnas_app.search.loop import Search
from hnas_app.search.score_store import ScoreStore
from hnas_app.training.outer_loop import score_tasks
from hnas_app.training.setup.setup import Setup
from hnas_app.usecases.arguments import Caller, Given
from hnas_app.usecases.opening import continued, started
from hnas_strategies.genetic import Genetic, GeneticOptions

BACKENDS = ("eyeriss", "eyeriss-rs", "x86")
QUANTILES = (0.1, 0.3, 0.5, 0.7)
SAMPLES = 1000
"""Random networks whose costs give the quantiles."""


@frozen(kw_only=True)
class Pair:
    """A device's costs and a limit on them."""

    backend: str
    quantile: float
    setup: Setup
    table: CostTable
    limit: Limit

    @property
    def name(self) -> str:
        return f"{self.backend}, {self.quantile:g}: {self.limit}"

    def cost(self, arch: Architecture) -> Cost:
        return _cost(self.setup, self.table, arch)

    def search(self, number: int, strategy: Genetic) -> Search:
        """Return this pair's search; ``number`` tells its random numbers from those of the other pairs."""
        feasibility = Feasibility(self.setup.space, [self.limit], self.cost)
        problem = SearchProblem(
            space=self.setup.space,
            feasible=feasibility.feasible,
            cost=self.cost,
            sample_feasible=feasibility.sample,
            generator=self.setup.seeds.numpy("search", number),
        )
        return Search(name=self.name, strategy=strategy, problem=problem)


def pairs_of(phases: Pipeline, caller: Caller, backends: Sequence[str], quantiles: Sequence[float]) -> list[Pair]:
    """Profile each device, and return it with a limit at each quantile of its costs."""
    setup, pairs = phases.setup, []
    for name in backends:
        loaded = caller.load(Given(backend=name), quiet=True, file=phases.run.config_path)
        backend, store = chosen("backend", loaded.config, caller.registry), CostStore()
        try:
            table = profile(
                backend, setup.space, setup.image_shape, setup.n_way, store=store, emit=lambda event: None
            )  # fmt: skip
        finally:
            store.close()
            backend.close()
        generator, metric = setup.seeds.numpy("sweep-benchmark"), table.metrics[0]
        costs = [_cost(setup, table, setup.space.sample(generator))[metric.name] for _ in range(SAMPLES)]
        for quantile in quantiles:
            value = float(np.quantile(costs, quantile))
            limit = Limit(metric=metric, value=value, text=f"{metric.name}<={value:.6g}{metric.unit}")
            pairs.append(Pair(backend=_shown(name), quantile=quantile, setup=setup, table=table, limit=limit))
    return pairs


def measure(
    phases: Pipeline, pairs: Sequence[Pair], strategy: GeneticOptions, counts: Sequence[int], tasks: int
) -> Iterator[dict[str, Any]]:
    """Yield a row for each number of pairs; the first is of separate searches."""
    setup, executor, state = phases.setup, phases.executor, phases.meta_train()
    losses: dict[Architecture, float] = {}
    alone: dict[str, float] = {}
    separate = 0.0
    for count in counts:
        found: dict[str, Architecture] = {}
        spent, seconds = [], 0.0
        for first in range(0, len(pairs), count):
            searches = [
                pair.search(number, Genetic(strategy)) for number, pair in list(enumerate(pairs))[first : first + count]
            ]
            scores = ScoreStore(setup=setup, executor=executor, config=phases.config.search)
            began = time.perf_counter()
            adaptions = adapt(searches, scores, state)
            seconds += time.perf_counter() - began
            spent += [scores.spent[s.name] for s in searches]
            found |= {name: adaption.chosen.arch for name, adaption in adaptions.items()}
        for arch in found.values():
            if arch not in losses:
                losses[arch] = loss(phases, executor, state, arch, tasks)
        reached = {name: losses[arch] for name, arch in found.items()}
        alone = alone or reached
        gaps = [reached[name] - alone[name] for name in reached]
        cost = sum(spent) / len(pairs)
        separate = separate or cost
        yield {
            "pairs": count,
            "evaluations_per_pair": round(cost, 1),
            "seconds_per_pair": round(seconds / len(pairs), 2),
            f"median_loss_{tasks}_tasks": round(statistics.median(reached.values()), 4),
            "median_gap_to_separate": round(statistics.median(gaps), 4),
            "worst_gap": round(max(gaps), 4),
            "share_of_separate": round(cost / separate, 3),
            "losses": {name: round(value, 4) for name, value in reached.items()},
        }


def loss(phases: Pipeline, executor: Executor, state: State, arch: Architecture, tasks: int) -> float:
    """Return an architecture's mean loss over tasks that no search drew."""
    phases.setup.send(executor)
    n_query = phases.config.search.n_query
    found, _ = score_tasks(executor, state, arch, "validation", "sweep-benchmark", tasks, n_query)
    return statistics.fmean(found)


def _cost(setup: Setup, table: CostTable, arch: Architecture) -> Cost:
    return table.cost(setup.space.layers(arch, setup.image_shape, setup.n_way))


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Measure sweeps against separate searches.")
    parser.add_argument(
        "run", type=Path, nargs="?", help="a run directory with a super-net; by default `quick` trains one"
    )
    parser.add_argument("--backend", action="append", help=f"a device; repeated; by default {', '.join(BACKENDS)}")
    parser.add_argument("--table", action="append", default=[], help="a device by the file of `hnas profile export`")
    parser.add_argument("--quantiles", default=",".join(map(str, QUANTILES)), help="where each device's limits are")
    parser.add_argument("--pairs", default="1,2,4,8,16", help="pairs in a sweep; 1, the separate searches, comes first")
    parser.add_argument("--population", type=int, help="by default the run's")
    parser.add_argument("--iterations", type=int, help="by default the run's")
    parser.add_argument("--tasks", type=int, default=200, help="tasks that chosen networks are scored on again")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--name", default="sweep", help="name of the file below results/")
    parser.add_argument("--json", action="store_true", help="print JSON")
    options = parser.parse_args(arguments)
    backends = [*(options.backend or BACKENDS), *(f"table:{file}" for file in options.table)]
    quantiles = [float(q) for q in options.quantiles.split(",")]
    counts = [int(n) for n in options.pairs.split(",")]
    n_pairs = len(backends) * len(quantiles)
    if counts[0] != 1 or any(n_pairs % n for n in counts):
        parser.error(f"--pairs {options.pairs}: expected 1 and then divisors of the {n_pairs} pairs")
    with (
        at_terminal(Invocation(), "{}") as caller,
        supernet(caller, options.run, options.workers) as phases,
    ):
        phases.meta_train()
        pairs = pairs_of(phases, caller, backends, quantiles)
        given = {"population": options.population, "iterations": options.iterations}
        own = phases.config.strategy.options
        if not isinstance(own, GeneticOptions):
            sys.exit(f"the run's strategy is {phases.config.strategy.name}, expected genetic")
        strategy = attrs.evolve(own, **{k: v for k, v in given.items() if v is not None})
        rows = []
        for row in measure(phases, pairs, strategy, counts, options.tasks):
            rows.append(row)
            if not options.json:
                print("  ".join(f"{k}={v}" for k, v in row.items() if k != "losses"), flush=True)
        search, config = attrs.asdict(strategy), phases.config
        settings = {"strategy": search, "search": attrs.asdict(config.search), "space": config.space.name}
    content = record(options.name, rows, settings=settings, devices=[_shown(b) for b in backends])
    if options.json:
        print(json.dumps(content, indent=1))


@contextmanager
def supernet(caller: Caller, run: Path | None, workers: int) -> Iterator[Pipeline]:
    """Yield the pipeline of a run with a super-net; without one, of a run of `quick` that is thrown away."""
    if run is not None:
        with continued(caller, "adapt", run, Given(workers=workers)) as phases:
            yield phases
        return
    given = Given(preset="quick", workers=workers)
    with TemporaryDirectory() as folder, started(caller, "adapt", given, Path(folder) / "run") as phases:
        yield phases


def _shown(backend: str) -> str:
    """Name a device without the folders of whoever ran it."""
    kind, colon, file = backend.partition(":")
    return f"{kind}:{Path(file).name}" if colon and "/" in file else backend


if __name__ == "__main__":
    main()
