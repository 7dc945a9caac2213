"""Measure what limits many workers, and compute from it what 1, 10, 100 and 1,000 of them would give.

    python benchmarks/scaling.py --preset small                 # measures for some minutes, writes results/scaling.json
    python benchmarks/scaling.py --preset small --json          # prints what it writes
    python benchmarks/scaling.py --preset quick --executors threads,processes,ray

Measured are the seconds that an adaption and a meta-gradient take in a worker, the bytes that travel, and what each
executor adds to an item. Computed is the rest, as docs/scaling.md says: a generation of a search on so many workers,
and an iteration of meta-training by so many workers, or ranks. The network's speed is an assumption (`--gbit`).
"""

from __future__ import annotations

import argparse
import heapq
import json
import math
import statistics
import time
from collections.abc import Mapping, Sequence
from typing import Any

from measuring import record, settle_environment

if __name__ == "__main__":
    settle_environment()

import numpy as np

from hnas import Registry
from hnas.learner import Progress
from hnas_app.config.load import load_config
from hnas_app.config.schema import Config
from hnas_app.executors.choice import executor
from hnas_app.executors.in_process import InProcess
from hnas_app.executors.interface import Executor
from hnas_app.executors.pipes import pack
from hnas_app.runs.session import setup_of
from hnas_app.search.score_store import _score
from hnas_app.training.meta_batch import GradientItem, Part, gradient_part
from hnas_app.training.setup.setup import Setup, to_workers

WORKERS = (1, 10, 100, 1000)
LATENCY_S = 50e-6
"""Of one message between two machines."""


def makespan(seconds: Sequence[float], workers: int, overhead: float) -> float:
    """Return when the last item is done: each goes to the first free worker, and the driver takes ``overhead`` for it.

    Items are handed out in this order, one after the other, since there is one driver.
    """
    free = [0.0] * workers
    heapq.heapify(free)
    handed_out = end = 0.0
    for item in seconds:
        handed_out = max(handed_out + overhead, heapq.heappop(free))
        heapq.heappush(free, handed_out + item)
        end = max(end, handed_out + item)
    return end


def iteration(part_s: Mapping[int, float], tasks: int, workers: int, rest_s: float, exchange_s: float) -> float:
    """Return the seconds of a meta-training's iteration: the largest share of its tasks, the outer step, and the wire.

    ``part_s`` maps a number of tasks to the seconds of their meta-gradient. A task is not divided, so more workers than
    tasks change nothing.
    """
    share = math.ceil(tasks / min(workers, tasks))
    known = min((n for n in part_s if n >= share), default=max(part_s))
    return part_s[known] + rest_s + exchange_s


def exchange(state: int, gradient: int, workers: int, bytes_per_s: float, *, ranks: bool) -> float:
    """Return the seconds that weights and gradients travel in an iteration; nothing for one worker.

    A driver sends its state to each worker and gets a gradient from each, by its one wire. Ranks have the state and
    all-reduce gradients in a ring: each sends and receives nearly twice a gradient, in 2 (W - 1) steps.
    """
    if workers == 1:
        return 0.0
    if ranks:
        return 2 * (workers - 1) * (LATENCY_S + gradient / workers / bytes_per_s)
    return workers * (state + gradient) / bytes_per_s


def nothing(values: Mapping[str, Any], item: Any) -> None:
    """Run in a worker: what is left is the executor's own time."""


def measure(setup: Setup, config: Config, options: argparse.Namespace) -> dict[str, Any]:
    """Return what was measured in one process: seconds of items, and bytes of what travels."""
    state = setup.learner.init(setup.supernet, setup.seeds.torch("benchmark"))
    arrays = to_workers(state)
    generator = setup.seeds.numpy("benchmark")
    archs = [setup.space.sample(generator) for _ in range(options.sample)]
    search, plan = config.search, config.meta_train
    sizes = sorted({math.ceil(plan.tasks / n) for n in range(1, plan.tasks + 1)})
    progress = Progress(iteration=0, iterations_per_epoch=plan.iterations, epochs=plan.epochs)
    with InProcess() as here:
        setup.send(here)
        here.put(state=arrays)
        items = [(a, tuple(range(search.tasks)), search.n_query, search.fitness) for a in archs]
        here.map(_score, items[:1])  # everything is imported, and the tasks are drawn
        adaptions = [_seconds(here, _score, item) for item in items]
        parts: dict[int, float] = {}
        for size in sizes:
            given = [GradientItem(Part(arch=a, tasks=range(size)), progress, plan.n_query, "benchmark") for a in archs]
            here.map(gradient_part, given[:1])
            parts[size] = statistics.mean(_seconds(here, gradient_part, item) for item in given)
        gradient = {k: v.copy() for k, v in here.map(gradient_part, given[-1:])[0][0].items()}
    import torch

    tensors = {k: torch.from_numpy(v) for k, v in gradient.items()}
    started = time.perf_counter()
    for _ in range(5):
        setup.learner.update(state, tensors, plan.tasks, progress)
    return {
        "adaption_s": adaptions,
        "part_s": parts,
        "update_s": (time.perf_counter() - started) / 5,
        "setup_bytes": _bytes(setup),
        "state_bytes": _bytes(arrays),
        "gradient_bytes": _bytes(gradient),
    }


def overheads(kinds: Sequence[str], workers: int, items: int, setup: Setup, state: Any) -> dict[str, dict[str, float]]:
    """Return, for each kind of executor, the seconds to start, to hand out the values, and for an item more."""
    found = {}
    for kind in kinds:
        started = time.perf_counter()
        with executor(workers, kind=kind) as pool:
            pool.map(nothing, range(workers))
            ready = time.perf_counter()
            setup.send(pool)
            pool.put(state=state)
            pool.map(nothing, range(2 * workers))
            sent = time.perf_counter()
            pool.map(nothing, range(items))
            item_s = (time.perf_counter() - sent) / items
        found[kind] = {"start_s": ready - started, "values_s": sent - ready, "item_s": item_s}
    return found


def computed(
    measured: Mapping[str, Any],
    per_item: Mapping[str, Mapping[str, float]],
    config: Config,
    population: int,
    gbit: float,
) -> list[dict[str, Any]]:
    """Return a row for each kind of work, executor and number of workers."""
    generator = np.random.default_rng(0)
    items = sorted(generator.choice(measured["adaption_s"], population), reverse=True)
    wire = gbit * 1e9 / 8
    tasks = config.meta_train.tasks
    rows: list[dict[str, Any]] = []
    for kind, found in per_item.items():
        seconds = {w: makespan(items, w, found["item_s"]) for w in WORKERS}
        rows += _rows("search: a generation", kind, seconds)
    for kind in ("driver and workers", "ranks of torchrun"):
        seconds = {}
        for w in WORKERS:
            used = min(w, tasks)
            travel = exchange(
                measured["state_bytes"], measured["gradient_bytes"], used, wire, ranks=kind.startswith("ranks")
            )
            seconds[w] = iteration(measured["part_s"], tasks, used, measured["update_s"], travel)
        rows += _rows("meta-training: an iteration", kind, seconds)
    return rows


def _rows(what: str, by: str, seconds: Mapping[int, float]) -> list[dict[str, Any]]:
    one = seconds[1]
    return [
        {"what": what, "by": by, "workers": w, "seconds": s, "speed_up": one / s, "efficiency": one / s / w}
        for w, s in seconds.items()
    ]


def _seconds(pool: Executor, work: Any, item: Any) -> float:
    started = time.perf_counter()
    pool.map(work, [item])
    return time.perf_counter() - started


def _bytes(value: Any) -> int:
    return sum(len(part) for part in pack(value))


def main(arguments: Sequence[str] | None = None) -> dict[str, Any]:
    parser = argparse.ArgumentParser(description="Measure what limits many workers, and compute what they would give.")
    parser.add_argument("--preset", default="small", help="budget and sizes: quick, small, paper")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="as in hnas")
    parser.add_argument("--sample", type=int, default=30, help="random architectures whose items are timed")
    parser.add_argument("--population", type=int, default=100, help="architectures of a generation")
    parser.add_argument("--executors", default="threads,processes", help="of threads, processes, ray, ray://HOST:PORT")
    parser.add_argument("--workers", type=int, default=2, help="workers that executors are measured with")
    parser.add_argument("--items", type=int, default=500, help="empty items that executors are measured with")
    parser.add_argument("--gbit", type=float, default=10.0, help="assumed speed of the network, in Gbit/s")
    parser.add_argument("--name", default="scaling", help="name of the file below results/")
    parser.add_argument("--json", action="store_true", help="print what is written")
    options = parser.parse_args(arguments)
    registry = Registry()
    sets = [tuple(text.split("=", 1)) for text in options.set]
    config = load_config(registry, preset=options.preset, sets=sets).config  # type: ignore[arg-type]
    setup = setup_of(config, registry)
    measured = measure(setup, config, options)
    state = to_workers(setup.learner.init(setup.supernet, setup.seeds.torch("benchmark")))
    per_item = overheads(options.executors.split(","), options.workers, options.items, setup, state)
    rows = computed(measured, per_item, config, options.population, options.gbit)
    content = record(options.name, rows, measured=measured, executors=per_item, assumed={"gbit": options.gbit})
    if options.json:
        print(json.dumps(content, indent=1))
    else:
        for row in rows:
            print(f"{row['what']:28} {row['by']:20} {row['workers']:5} workers {row['speed_up']:8.1f} times as fast")
    return content


if __name__ == "__main__":
    main()
