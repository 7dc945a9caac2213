"""Measure a whole adaption: a genetic search with all its savings, against scoring the same trace the plain way.

    hnas meta-train --preset quick --run-dir runs/supernet      # a super-net to search with, on glyphs
    python benchmarks/search.py runs/supernet                   # Algorithm 1 in full: P=100, M=200, 16 tasks
    python benchmarks/search.py runs/supernet --iterations 20

The plain way scores every architecture that the strategy asked for on every task of its iteration, one task after the
other with the loop of `plain_loop`, on as many processes. It is measured on a random sample of those (architecture,
task) pairs and scaled up; cutting an architecture's weights out of the super-net is not charged to it.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from measuring import record, settle_environment

if __name__ == "__main__":
    settle_environment()

import attrs
import numpy as np
from configs import Config
from plain_loop import Start, adapt

from hnas import Ask, Scored, SearchProblem
from hnas_app.cli.invocation import Invocation
from hnas_app.cli.terminal import at_terminal
from hnas_app.executors.local_processes import LocalProcesses
from hnas_app.runs.pipeline import Pipeline
from hnas_app.search.evaluator import Evaluator
from hnas_app.search.feasibility import Feasibility
from hnas_app.search.loop import Search, search
from hnas_app.search.score_store import PURPOSE, ScoreStore
from hnas_app.training.setup.setup import Setup, from_driver, to_workers
from hnas_app.usecases.arguments import Given
from hnas_app.usecases.opening import continued
from hnas_strategies.genetic import Genetic, GeneticOptions

WORKERS = 2


def measure(phases: Pipeline, slice_: str, options: argparse.Namespace) -> list[dict[str, Any]]:
    """Return a row for the search and one for the plain way."""
    setup, state = phases.setup, phases.meta_train()
    settings = attrs.evolve(phases.config.search, slice=slice_, tasks=options.tasks)
    feasibility = Feasibility(setup.space, phases.limits, phases.cost)
    problem = SearchProblem(
        space=setup.space,
        feasible=feasibility.feasible,
        cost=phases.cost,
        sample_feasible=feasibility.sample,
        generator=setup.seeds.numpy("benchmark"),
    )
    strategy = Genetic(GeneticOptions(population=options.population, iterations=options.iterations))
    asked: list[tuple[int, Ask]] = []
    with LocalProcesses(WORKERS) as pool:
        scores = ScoreStore(setup=setup, executor=pool, config=settings)
        evaluator = Evaluator(scores=scores, cost=phases.cost)
        scores.start(state)
        pool.map(_ready, range(WORKERS))

        def score(iteration: int, asks: Mapping[str, Ask], _: object) -> dict[str, list[Scored]]:
            ((name, ask),) = asks.items()
            asked.append((iteration, ask))
            return {name: evaluator(iteration, ask)}

        started = time.perf_counter()
        search([Search(strategy=strategy, problem=problem)], score)
        ours = time.perf_counter() - started
        pairs = sum(len(ask.architectures) for _, ask in asked) * len(evaluator.slice(0))
        generator = np.random.default_rng(0)
        items = []
        for _ in range(options.sample):
            iteration, ask = asked[int(generator.integers(len(asked)))]
            arch = ask.architectures[int(generator.integers(len(ask.architectures)))]
            items.append((arch, int(generator.choice(evaluator.slice(iteration))), settings.n_query))
        pool.put(state=to_workers(state))
        seconds = pool.map(_plain, items)
    plain = sum(seconds) / WORKERS * pairs / len(items)
    scored = len(scores.known)
    return [
        {
            "config": f"vgg9, base width {_config(setup).base_width}, {setup.n_way}-way {setup.k_shot}-shot",
            "row": f"{slice_} slice",
            "variant": variant,
            "workers": WORKERS,
            "population": options.population,
            "iterations": len(asked),
            "tasks": options.tasks,
            "evaluations_asked": pairs,
            "evaluations_made": made,
            "wall_s": round(wall, 1),
            "sampled": sampled,
            "ratio_over_loop": round(plain / wall, 2),
        }
        for variant, wall, made, sampled in (("loop", plain, pairs, len(items)), ("hnas", ours, scored, None))
    ]


def _config(setup: Setup) -> Config:
    """Return the part of a setting that the plain loop's weights are cut by."""
    options = setup.space.settings  # type: ignore[attr-defined]
    return Config(
        name="run", image=setup.image_shape, n_way=setup.n_way, n_query=0, tasks=0, downsample=options.downsample,
        base_width=options.base_width, pool=options.pool,
    )  # fmt: skip


def _ready(values: Mapping[str, Any], item: int) -> None:
    """Run in a worker: have everything imported and the tasks' source open before time is taken."""
    values["setup"].episodes("validation", PURPOSE, [0], 1)
    time.sleep(0.2)  # so that the other worker gets the next item


def _plain(values: Mapping[str, Any], item: Any) -> float:
    """Run in a worker: seconds that the plain loop takes for one architecture and task."""
    setup: Setup = values["setup"]
    arch, task, n_query = item
    episodes = setup.episodes("validation", PURPOSE, [task], n_query)
    start = Start.of(_config(setup), from_driver(values["state"], setup), arch)
    started = time.perf_counter()
    adapt(start, episodes)
    return time.perf_counter() - started


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Measure a whole search against scoring its trace the plain way.")
    parser.add_argument("run", type=Path, help="a run directory with a trained VGG9 super-net")
    parser.add_argument("--slices", default="fresh,fixed", help="fresh, fixed")
    parser.add_argument("--population", type=int, default=100)
    parser.add_argument("--iterations", type=int, default=200)
    parser.add_argument("--tasks", type=int, default=16)
    parser.add_argument("--sample", type=int, default=400, help="(architecture, task) pairs that the loop is timed on")
    parser.add_argument("--name", default="search", help="name of the file below results/")
    options = parser.parse_args(arguments)
    rows: list[dict[str, Any]] = []
    with at_terminal(Invocation(), "{}") as caller, continued(caller, "adapt", options.run, Given()) as phases:
        for slice_ in options.slices.split(","):
            rows += measure(phases, slice_, options)
            print(json.dumps(rows[-2:], indent=1), flush=True)
    record(options.name, rows)


if __name__ == "__main__":
    main()
