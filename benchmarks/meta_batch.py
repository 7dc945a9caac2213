"""Measure whole meta-batches: worker processes against the plain loop, and the peak memory of a worker."""

from __future__ import annotations

import resource
from collections.abc import Callable, Mapping
from typing import Any

import torch
from configs import Config, SyntheticTasks
from measuring import interleave
from plain_loop import Start, loop

from hnas import Architecture, MetaLearner, Progress, Seeds
from hnas_app.executors.interface import Executor
from hnas_app.executors.local_processes import LocalProcesses
from hnas_app.training.meta_batch import GradientItem, Part, cut, gradient_part, meta_gradient
from hnas_app.training.setup.setup import Setup, to_workers

PROGRESS = Progress(iteration=0, iterations_per_epoch=500, epochs=100)
PHASE = "benchmark"


def setup_of(config: Config, learner: MetaLearner) -> Setup:
    return Setup(
        space=config.space,
        learner=learner,
        tasks=SyntheticTasks(config.image),
        n_way=config.n_way,
        k_shot=config.k_shot,
        seeds=Seeds(0),
    )


def measure_workers(config: Config, row: str, learner: MetaLearner, workers: int, reps: int) -> list[dict[str, Any]]:
    """Time one meta-batch: the plain loop on one and on two threads, the project on one and on several workers.

    The project's time is that of `hnas_app.training.outer_loop`: state out, gradients back and added up. The plain loop
    has its tensors at hand. Each architecture is a meta-batch of its own.

    ``machine_scaling`` is what several workers could gain at best in the same rounds: each does one part of the
    meta-batch, against one worker that does one part, with nothing sent or added up. Where it is well below their
    number, others had a share of the cores. ``undisturbed`` is the ratio over one worker of the fastest rounds: a core
    whose sibling another machine uses is 1.4 times slower for seconds, and two workers wait for the slower core.
    """
    tasks = config.tasks if row == "reference" else max(config.random_tasks, workers)
    setup = setup_of(config, learner)
    state = learner.init(setup.supernet, torch.Generator().manual_seed(0))
    episodes = setup.episodes("train", f"{PHASE}-tasks", range(tasks), config.n_query, PROGRESS.iteration)
    wall: dict[str, list[float]] = {}
    fastest: dict[str, float] = {}
    with LocalProcesses(1) as one, LocalProcesses(workers) as several:
        for pool in (one, several):
            pool.put(setup=setup, state=to_workers(state))
        for arch in config.networks(row):
            start = Start.of(config, state, arch)

            def plain(threads: int, start: Start = start) -> None:
                torch.set_num_threads(threads)
                for leaf in start.leaves.values():
                    leaf.grad = None
                loop(start, episodes)
                torch.set_num_threads(1)

            def ours(pool: Executor, arch: Architecture = arch) -> None:
                parts = cut([arch], tasks, pool.size, lambda _: 1.0)
                meta_gradient(pool, state, parts, config.n_query, PROGRESS, PHASE)

            share = Part(arch=arch, tasks=range(max(1, tasks // workers)))
            part = GradientItem(share, PROGRESS, config.n_query, f"{PHASE}-tasks")
            calls: dict[tuple[str, int], Callable[[], object]] = {
                ("part", 1): lambda part=part: one.map(gradient_part, [part]),
                ("part", workers): lambda part=part: several.map(gradient_part, [part] * workers),
                ("loop", 1): lambda: plain(1),
                ("loop", 2): lambda: plain(2),
                ("hnas", 1): lambda: ours(one),
                ("hnas", workers): lambda: ours(several),
            }
            named = {f"{variant} {n}": call for (variant, n), call in calls.items()}
            for name, timing in interleave(named, reps, twice=True).items():
                wall.setdefault(name, []).append(timing.wall_s)
                fastest[name] = fastest.get(name, 0.0) + min(timing.all_s)
    seconds = {name: sum(values) for name, values in wall.items()}
    best = min(seconds["loop 1"], seconds["loop 2"])
    scaling = workers * seconds["part 1"] / seconds[f"part {workers}"]
    rows = []
    for name, value in seconds.items():
        variant, count = name.split()
        if variant == "part":
            continue
        rows.append(
            {
                "config": config.name,
                "row": row,
                "variant": variant,
                "order": "second",
                "threads" if variant == "loop" else "workers": int(count),
                "tasks": tasks,
                "wall_ms": round(1e3 * value, 2),
                "ratio_over_best_loop": round(best / value, 3),
                "ratio_over_one_worker": round(seconds["hnas 1"] / value, 3) if variant == "hnas" else None,
                "undisturbed": round(fastest["hnas 1"] / fastest[name], 3) if variant == "hnas" else None,
                "machine_scaling": round(scaling, 3) if name == f"hnas {workers}" else None,
            }
        )
    return rows


def measure_memory(config: Config, learner: MetaLearner) -> list[dict[str, Any]]:
    """Return the peak memory of a fresh worker that does a meta-batch of 1, and of one that does 8."""
    setup = setup_of(config, learner)
    state = learner.init(setup.supernet, torch.Generator().manual_seed(0))
    arch = config.networks("reference")[0]
    peak = {}
    for tasks in (1, 8):
        with LocalProcesses(1) as worker:
            worker.put(setup=setup, state=to_workers(state))
            item = GradientItem(Part(arch=arch, tasks=range(tasks)), PROGRESS, config.n_query, f"{PHASE}-tasks")
            peak[tasks] = worker.map(_peak_memory, [item])[0]
    return [
        {
            "config": config.name,
            "variant": "hnas",
            "tasks": tasks,
            "peak_mb": round(peak[tasks], 1),
            "over_one_task": round(peak[tasks] / peak[1], 3),
        }
        for tasks in peak
    ]


def _peak_memory(values: Mapping[str, Any], item: Any) -> float:
    """Run in a worker: the largest resident set, in MB, after two meta-gradients."""
    for _ in range(2):
        gradient_part(values, item)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
