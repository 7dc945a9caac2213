"""Measure adaption: what scoring one architecture on the tasks of a search costs, against the plain loop.

    python benchmarks/adapt.py --json

Nothing is remembered between scores, and both ways score the same architectures on the same 16 tasks: the reference
network, and random ones, whose activations, kernels and widths differ. Losses must agree before anything is timed.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from typing import Any

from measuring import interleave, record, settle_environment, sgemm_peak

if __name__ == "__main__":
    settle_environment()

import torch
from configs import CONFIGS, Config
from flops import adaption_flops
from meta_step import fresh_state, learner_of
from plain_loop import Start, adapt

TASKS = 16


def measure(config: Config, row: str, reps: int, peak: float, tasks: int) -> list[dict[str, Any]]:
    """Return a row for the plain loop and one for the project, summed over the row's architectures."""
    supernet = config.space.supernet(config.image, config.n_way)
    learner, state, episodes = learner_of(config, "second"), fresh_state(config), config.episodes(tasks)
    wall: dict[str, list[float]] = {"loop": [], "hnas": []}
    cpu: dict[str, list[float]] = {"loop": [], "hnas": []}
    gflop, worst = 0.0, 0.0
    for arch in config.networks(row):
        start = Start.of(config, state, arch)
        theirs = torch.tensor(adapt(start, episodes))
        ours = learner.score(supernet, state, episodes, arch).loss
        # a max-pool may pick another of two nearly equal pixels, so a single task is allowed more than their mean
        difference = float((ours - theirs).abs().mean() / theirs.abs().mean())
        if not difference < 0.02:
            sys.exit(
                f"{config.name}, {config.space.options(arch)}: losses of hnas and the plain loop differ by "
                f"{difference:.1%} on average, expected less than 2 %: no time was measured"
            )
        worst = max(worst, difference)
        calls = {
            "loop": lambda start=start: adapt(start, episodes),
            "hnas": lambda arch=arch: learner.score(supernet, state, episodes, arch),
        }
        for name, timing in interleave(calls, reps).items():
            wall[name].append(timing.wall_s)
            cpu[name].append(timing.cpu_s)
        gflop += 1e-9 * tasks * adaption_flops(config.layers(arch), config.size)
    evaluations = tasks * len(wall["loop"])
    return [
        {
            "config": config.name,
            "row": row,
            "variant": name,
            "threads": torch.get_num_threads(),
            "evaluations": evaluations,
            "wall_ms": round(1e3 * sum(wall[name]), 2),
            "cpu_ms": round(1e3 * sum(cpu[name]), 2),
            "evaluations_per_s": round(evaluations / sum(wall[name]), 2),
            "ratio_over_loop": round(sum(wall["loop"]) / sum(wall[name]), 3),
            "ratio_cpu": round(sum(cpu["loop"]) / sum(cpu[name]), 3),
            "ratios": [round(a / b, 3) for a, b in zip(wall["loop"], wall[name], strict=True)],
            "gflops_per_cpu_s": round(gflop / sum(cpu[name]), 2),
            "share_of_peak": round(gflop / sum(cpu[name]) / peak, 3),
            "disagreement": float(f"{worst:.1e}") if name == "hnas" else None,
        }
        for name in wall
    ]


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Measure adaption against the plain loop.")
    parser.add_argument("--configs", default=",".join(CONFIGS), help=f"of {', '.join(CONFIGS)}")
    parser.add_argument("--rows", default="reference,random", help="reference, random")
    parser.add_argument("--tasks", type=int, default=TASKS, help="tasks that an architecture is scored on")
    parser.add_argument("--reps", type=int, default=5, help="rounds")
    parser.add_argument("--name", default="adapt", help="name of the file below results/")
    parser.add_argument("--json", action="store_true", help="print JSON")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    peak = sgemm_peak()
    rows: list[dict[str, Any]] = []
    for name in options.configs.split(","):
        for kind in options.rows.split(","):
            found = measure(CONFIGS[name], kind, options.reps, peak, options.tasks)
            rows += found
            for row in [] if options.json else found:
                print("  ".join(f"{k}={v}" for k, v in row.items() if v is not None), flush=True)
    content = record(options.name, rows, sgemm_peak_gflops=round(peak, 1))
    if options.json:
        print(json.dumps(content, indent=1))


if __name__ == "__main__":
    main()
