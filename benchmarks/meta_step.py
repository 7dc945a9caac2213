"""Measure meta-gradients: the project's engine against the plain loop and its peers, in one process.

    python benchmarks/meta_step.py --json
    python benchmarks/meta_step.py --configs omni20_s2,mini5_s2 --rows reference --reps 5
    python benchmarks/meta_step.py --workers 2        # two worker processes against the plain loop on 1 and 2 threads
    python benchmarks/meta_step.py --memory           # peak memory of a meta-batch of 8 over one of 1
    python benchmarks/meta_step.py --learners meta-sgd,anil,prototypical    # beside themselves in plain torch

A row's ``ratio_over_loop`` is the plain loop's time over the variant's, medians of the same rounds. Before anything is
timed, variants must agree on the meta-gradient: to 1e-6 in float64, and to 1e-3 in float32 on the best of four tasks
(`check` says why not on all).
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from measuring import interleave, record, settle_environment, sgemm_peak

if __name__ == "__main__":
    settle_environment()

import torch
from attrs import evolve, frozen
from configs import CONFIGS, INNER_STEPS, Config
from flops import meta_flops
from learner_steps import NAMES, measure_learners
from meta_batch import measure_memory, measure_workers
from peers import higher_loop, learn2learn_loop, missing
from plain_loop import Start, loop
from torch import Tensor

from hnas import Architecture, Episodes, Progress
from hnas.learner import State
from hnas_plugins.meta_learners.maml import MAML
from hnas_plugins.meta_learners.options import MAMLPlusPlusOptions

PROGRESS = Progress(iteration=0, iterations_per_epoch=500, epochs=100)
ORDERS = ("second", "first", "msl")
CHECKED_TASKS = 4
LIMITS = {"float64": 1e-6, "float32": 1e-3, "float32_worst": math.inf}
PEERS = {"higher": higher_loop, "learn2learn": learn2learn_loop}


@frozen(kw_only=True)
class Case:
    """One architecture on one meta-batch, with a fresh super-net's state."""

    config: Config
    arch: Architecture
    order: str
    episodes: Episodes
    state: State

    @classmethod
    def make(cls, config: Config, arch: Architecture, order: str, tasks: int) -> Case:
        return cls(
            config=config,
            arch=arch,
            order=order,
            episodes=config.episodes(tasks),
            state=fresh_state(config),
        )

    @property
    def gflop(self) -> float:
        """GFLOP needed for the meta-batch."""
        flop = meta_flops(
            self.config.layers(self.arch),
            self.config.size,
            second_order=self.order != "first",
            multi_step_loss=self.order == "msl",
        )
        return 1e-9 * flop * len(self.episodes)

    def cast(self, dtype: torch.dtype, tasks: slice) -> Case:
        """Return the same case in another precision, on some tasks of the setting."""
        e = self.config.episodes(CHECKED_TASKS)[tasks]
        episodes = Episodes(
            support_x=e.support_x.to(dtype), support_y=e.support_y, query_x=e.query_x.to(dtype), query_y=e.query_y
        ).to(self.episodes.support_x.device)
        state = {k: v.to(dtype) for k, v in self.state.items()}
        return Case(config=self.config, arch=self.arch, order=self.order, episodes=episodes, state=state)

    def hnas(self, **options: Any) -> Callable[[], dict[str, Tensor]]:
        """Return the project's own way: what a worker does with its part of a meta-batch."""
        learner = learner_of(self.config, self.order, **options)
        supernet = self.config.space.supernet(self.config.image, self.config.n_way)
        return lambda: learner.gradient(supernet, self.state, self.episodes, self.arch, PROGRESS)[0]

    def plain(self, variant: Callable[..., float] = loop) -> Callable[[], dict[str, Tensor]]:
        """Return a plain variant over leaves of its own; each call starts from zero gradients."""
        start = Start.of(self.config, self.state, self.arch)

        def call() -> dict[str, Tensor]:
            for leaf in start.leaves.values():
                leaf.grad = None
            variant(start, self.episodes, second_order=self.order != "first", multi_step_loss=self.order == "msl")
            return {name: leaf.grad for name, leaf in start.leaves.items() if leaf.grad is not None}

        return call


def learner_of(config: Config, order: str, **other: Any) -> MAML:
    """Return MAML++ with all parts that an iteration of this order has, and ``other`` options."""
    options = MAMLPlusPlusOptions(
        inner_steps=INNER_STEPS,
        inner_lr=config.inner_lr,
        second_order=order != "first",
        derivative_order_annealing=False,
        multi_step_loss=order == "msl",
        **other,
    )
    return MAML(options)


def fresh_state(config: Config) -> State:
    """Return a seeded state whose normalisation parameters and classifier are not the trivial ones."""
    supernet = config.space.supernet(config.image, config.n_way)
    generator = torch.Generator().manual_seed(0)
    state = learner_of(config, "second").init(supernet, generator)
    for name, value in state.items():
        if name.startswith("params/norm") or name == "params/fc.bias":
            value += 0.1 * torch.randn(value.shape, generator=generator)
    return state


def disagreement(ours: Mapping[str, Tensor], plain: Mapping[str, Tensor], config: Config, arch: Architecture) -> float:
    """Return the norm of the difference of two meta-gradients over that of the plain one."""
    supernet = config.space.supernet(config.image, config.n_way)
    sliced = supernet.share({k.removeprefix("params/"): v for k, v in ours.items() if k.startswith("params/")}, arch)
    found = {f"params/{k}": v for k, v in sliced.items()} | {k: v for k, v in ours.items() if k.startswith("lslr/")}
    difference = sum(float((found[k] - v).double().square().sum()) for k, v in plain.items())
    return math.sqrt(difference / sum(float(v.double().square().sum()) for v in plain.values()))


def check(case: Case, variants: Mapping[str, Callable[..., float]]) -> dict[str, float]:
    """Compare variants with the plain loop; stop the benchmark where they disagree.

    In float64 one task must agree to 1e-6. In float32 a value next to a kink (of an activation or a max-pool) may fall
    on its other side, after which the rest of that task differs, by tens of per cent: the plain loop does so too when
    its inputs change by 1e-6. A fault of the float32 path would show in every task, so the best of some is held to
    1e-3; the worst one is recorded.
    """
    exact = case.cast(torch.float64, slice(0, 1))
    truth = exact.plain()()
    found = {"float64": disagreement(exact.hnas()(), truth, case.config, case.arch)}
    alone = [case.cast(torch.float32, slice(i, i + 1)) for i in range(CHECKED_TASKS)]
    rough = [disagreement(c.hnas()(), c.plain()(), case.config, case.arch) for c in alone]
    found |= {"float32": min(rough), "float32_worst": max(rough)}
    for name, variant in variants.items():
        theirs = exact.plain(variant)()
        found[name] = max(float((theirs[k] - v).norm() / (v.norm() + 1e-12)) for k, v in truth.items())
    for name, value in found.items():
        limit = LIMITS.get(name, LIMITS["float64"])
        if not value < limit:
            sys.exit(
                f"{case.config.name}, {case.order}, {case.config.space.options(case.arch)}: the meta-gradients of hnas "
                f"and the plain loop differ by {value:.2e} ({name}), expected less than {limit}: no time was measured"
            )
    return found


def measure(
    config: Config, row: str, order: str, reps: int, peak: float, tasks: int | None = None
) -> list[dict[str, Any]]:
    """Return one row for each variant, summed over the row's architectures."""
    n_tasks = tasks or (config.tasks if row == "reference" else config.random_tasks)
    peers = {n: f for n, f in PEERS.items() if missing(n) is None and not (n == "higher" and order == "first")}
    wall: dict[str, list[float]] = {}
    cpu: dict[str, list[float]] = {}
    gflop, worst = 0.0, dict.fromkeys(LIMITS, 0.0)
    for arch in config.networks(row):
        case = Case.make(config, arch, order, n_tasks)
        compared = peers if row == "reference" else {}
        errors = check(case, compared)
        worst = {k: max(v, errors[k]) for k, v in worst.items()}
        calls = {"loop": case.plain(), "hnas": case.hnas(), **{n: case.plain(f) for n, f in compared.items()}}
        for name, timing in interleave(calls, reps).items():
            wall.setdefault(name, []).append(timing.wall_s)
            cpu.setdefault(name, []).append(timing.cpu_s)
        gflop += case.gflop
    return [
        {
            "config": config.name,
            "row": row,
            "variant": name,
            "order": order,
            "threads": torch.get_num_threads(),
            "tasks": n_tasks,
            "wall_ms": round(1e3 * sum(wall[name]), 2),
            "cpu_ms": round(1e3 * sum(cpu[name]), 2),
            "ratio_over_loop": round(sum(wall["loop"]) / sum(wall[name]), 3),
            "ratio_cpu": round(sum(cpu["loop"]) / sum(cpu[name]), 3),
            "ratios": [round(a / b, 3) for a, b in zip(wall["loop"], wall[name], strict=True)],
            "gflop_needed": round(gflop, 2),
            "gflops_per_cpu_s": round(gflop / sum(cpu[name]), 2),
            "share_of_peak": round(gflop / sum(cpu[name]) / peak, 3),
            "disagreement": {k: float(f"{v:.1e}") for k, v in worst.items()} if name == "hnas" else None,
        }
        for name in wall
    ]


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Measure meta-gradients against the plain loop.")
    parser.add_argument("--configs", default=",".join(CONFIGS), help=f"of {', '.join(CONFIGS)}")
    parser.add_argument("--rows", default="reference,random", help="reference, random")
    parser.add_argument("--orders", default=",".join(ORDERS), help="second, first, msl (second order with MSL)")
    parser.add_argument("--tasks", type=int, help="tasks of a meta-batch, instead of each setting's own number")
    parser.add_argument("--pool", type=int, help="places of a side of the features, instead of each setting's own")
    parser.add_argument("--reps", type=int, default=7, help="rounds")
    parser.add_argument("--workers", type=int, default=0, help="measure this many worker processes instead")
    parser.add_argument("--memory", action="store_true", help="measure peak memory instead")
    parser.add_argument("--learners", default="", help=f"measure these instead, of {', '.join(NAMES)}")
    parser.add_argument("--name", help="name of the file below results/")
    parser.add_argument("--json", action="store_true", help="print JSON")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    configs = [CONFIGS[name] for name in options.configs.split(",")]
    configs = [evolve(config, pool=options.pool or config.pool) for config in configs]
    rows: list[dict[str, Any]] = []
    peak = sgemm_peak()

    def tell(found: Sequence[dict[str, Any]]) -> None:
        rows.extend(found)
        for row in [] if options.json else found:
            print("  ".join(f"{k}={v}" for k, v in row.items() if v is not None), flush=True)

    for config in configs:
        if options.memory:
            tell(measure_memory(config, learner_of(config, "second")))
        elif options.learners:
            for row in options.rows.split(","):
                tell(measure_learners(config, row, options.learners.split(","), options.reps, options.tasks))
        elif options.workers:
            for row in options.rows.split(","):
                tell(measure_workers(config, row, learner_of(config, "second"), options.workers, options.reps))
        else:
            for row in options.rows.split(","):
                for order in options.orders.split(","):
                    tell(measure(config, row, order, options.reps, peak, options.tasks))
    kind = "memory" if options.memory else f"workers{options.workers}" if options.workers else "meta_step"
    kind = "learner_steps" if options.learners else kind
    absent = {name: why for name in PEERS if (why := missing(name))}
    content = record(options.name or kind, rows, sgemm_peak_gflops=round(peak, 1), absent=absent)
    if options.json:
        print(json.dumps(content, indent=1))


if __name__ == "__main__":
    main()
