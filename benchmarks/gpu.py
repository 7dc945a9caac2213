"""Measure meta-gradients and scores on a GPU: tasks batched in several ways, against the plain loop on the same GPU.

    python benchmarks/gpu.py --json
    python benchmarks/gpu.py --configs omni20_s2 --rows reference --reps 20

``hnas`` is what `--accelerator cuda` does with an architecture that comes again and again, as in re-training: its work
is recorded as a CUDA graph. ``eager`` is without recording, as a super-net is meta-trained. ``grouped``, ``closed``,
``vmap`` and ``unfold`` compute the convolutions of many tasks, each with its own weights, as that
(`TASK_CONVOLUTIONS`). A time holds the wait for the GPU at the end of a call. Before anything is timed, meta-gradients
must agree with the plain loop's on the GPU to 1e-6 in float64.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
import torch.nn.functional as F
from attrs import evolve
from configs import CONFIGS, Config
from measuring import interleave, record
from meta_step import Case, disagreement, learner_of
from plain_loop import Start, adapt
from torch import Tensor

from hnas_plugins.spaces.blocks import plain as blocks
from hnas_plugins.spaces.blocks.grouped_convolution import grouped_convolution

LIMIT = 1e-6
ORDERS = ("second", "first", "score")


def vmapped(x: Tensor, weight: Tensor, stride: int) -> Tensor:
    """Do `blocks.convolve_tasks` by `torch.vmap`."""
    images = x.unflatten(1, weight.shape[:1] + weight.shape[2:3])  # (N, T, C, H, W)
    padding = weight.shape[-1] // 2
    one = torch.vmap(lambda a, w: F.conv2d(a, w, stride=stride, padding=padding), in_dims=(1, 0), out_dims=1)
    return one(images, weight).flatten(1, 2)


def unfolded(x: Tensor, weight: Tensor, stride: int) -> Tensor:
    """Do `blocks.convolve_tasks` as one matrix product for each task, of its patches."""
    tasks, out, _, kernel, _ = weight.shape
    n, _, height, width = x.shape
    if kernel == 1:
        patches = x[..., ::stride, ::stride].flatten(2)
    else:
        patches = F.unfold(x, kernel, stride=stride, padding=kernel // 2)  # (N, T*C*k*k, H'*W')
    columns = patches.unflatten(1, (tasks, -1)).permute(1, 2, 0, 3).flatten(2)  # (T, C*k*k, N*H'*W')
    found = torch.bmm(weight.flatten(2), columns).unflatten(2, (n, -1))  # (T, O, N, H'*W')
    return found.permute(2, 0, 1, 3).reshape(n, tasks * out, -(-height // stride), -(-width // stride))


TASK_CONVOLUTIONS: dict[str, Callable[[Tensor, Tensor, int], Tensor]] = {
    "grouped": lambda x, w, stride: blocks._convolve(x, w.flatten(0, 1), stride, w.shape[0]),
    "closed": grouped_convolution,
    "vmap": vmapped,
    "unfold": unfolded,
}
EAGER, BFLOAT16 = {"cuda_graphs": False}, {"precision": "bfloat16"}
VARIANTS: dict[str, tuple[str, dict[str, Any]]] = {
    "loop": ("", {}),
    "hnas": ("", {}),
    "hnas eager": ("", EAGER),
    "hnas bfloat16": ("", BFLOAT16),
    "hnas eager bfloat16": ("", EAGER | BFLOAT16),
    **{name: (name, {}) for name in TASK_CONVOLUTIONS},
    **{f"{name} eager": (name, EAGER) for name in TASK_CONVOLUTIONS},
}
"""How tasks are convolved (the project's own way where that is empty), and the learner's options."""


@contextmanager
def convolving(name: str) -> Iterator[None]:
    """Compute the convolutions of many tasks in one of the ways of `TASK_CONVOLUTIONS`."""
    before = blocks.convolve_tasks
    blocks.convolve_tasks = TASK_CONVOLUTIONS.get(name, before)
    try:
        yield
    finally:
        blocks.convolve_tasks = before


def case_of(config: Config, arch: Any, order: str, tasks: int) -> Case:
    case = Case.make(config, arch, "second" if order == "score" else order, tasks)
    return evolve(case, episodes=case.episodes.to("cuda"), state={k: v.cuda() for k, v in case.state.items()})


def check(case: Case) -> dict[str, float]:
    """Compare with the plain loop; stop the benchmark where float64 disagrees."""
    found = {}
    exact, rough = (case.cast(dtype, slice(0, 2)) for dtype in (torch.float64, torch.float32))
    truth, rough_truth = exact.plain()(), rough.plain()()
    for name in TASK_CONVOLUTIONS:
        with convolving(name):
            found[name] = disagreement(exact.hnas()(), truth, case.config, case.arch)
            found[f"{name} float32"] = disagreement(rough.hnas()(), rough_truth, case.config, case.arch)
        if not found[name] < LIMIT:
            sys.exit(f"{case.config.name}, {case.order}, {name}: differs from the plain loop by {found[name]:.2e}")
    return found


def calls_of(case: Case, order: str, names: Sequence[str]) -> dict[str, Callable[[], object]]:
    """Return what is timed, by name. Each waits for the GPU at its end."""
    supernet = case.config.space.supernet(case.config.image, case.config.n_way)

    def waiting(call: Callable[[], object], convolution: str) -> Callable[[], object]:
        def run() -> None:
            with convolving(convolution):
                call()
                torch.cuda.synchronize()

        return run

    calls: dict[str, Callable[[], object]] = {}
    for name in names:
        convolution, options = VARIANTS[name]
        if name == "loop" and order == "score":
            start = Start.of(case.config, case.state, case.arch)
            call: Callable[[], object] = lambda start=start: adapt(start, case.episodes)  # noqa: E731
        elif name == "loop":
            call = case.plain()
        elif order == "score":
            learner = learner_of(case.config, "second", **options)
            call = lambda one=learner: one.score(supernet, case.state, case.episodes, case.arch)  # noqa: E731
        else:
            call = case.hnas(**options)
        calls[name] = waiting(call, convolution)
    return calls


def peak_mb(call: Callable[[], object]) -> float:
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    call()
    return (torch.cuda.max_memory_allocated() - before) / 2**20


def measure(
    config: Config, row: str, order: str, tasks: int, reps: int, names: Sequence[str] = tuple(VARIANTS)
) -> list[dict[str, Any]]:
    """Return one row for each variant, summed over the row's architectures."""
    if order == "score":
        names = [n for n in names if "eager" not in n]  # scoring records nothing: each architecture comes once
    wall = dict.fromkeys(names, 0.0)
    peak = dict.fromkeys(names, 0.0)
    errors: dict[str, float] = {}
    for arch in config.networks(row):
        case = case_of(config, arch, order, tasks)
        if order != "score":
            errors = {k: max(v, errors.get(k, 0.0)) for k, v in check(case).items()}
        calls = calls_of(case, order, names)
        for name, timing in interleave(calls, reps, warm_up=5).items():
            wall[name] += timing.wall_s
        for name, call in calls.items():
            peak[name] = max(peak[name], peak_mb(call))
    return [
        {
            "config": config.name,
            "row": row,
            "order": order,
            "variant": name,
            "tasks": tasks,
            "wall_ms": round(1e3 * wall[name], 2),
            "ratio_over_loop": round(wall["loop"] / wall[name], 3) if "loop" in wall else None,
            "peak_mb": round(peak[name], 1),
            "disagreement": {k: float(f"{v:.1e}") for k, v in errors.items()} if name == "hnas" and errors else None,
        }
        for name in names
    ]


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Measure meta-gradients and scores on a GPU.")
    parser.add_argument("--configs", default=",".join(CONFIGS), help=f"of {', '.join(CONFIGS)}")
    parser.add_argument("--rows", default="reference,random", help="reference, random")
    parser.add_argument("--orders", default=",".join(ORDERS), help=f"of {', '.join(ORDERS)}")
    parser.add_argument("--variants", default=",".join(VARIANTS), help=f"of {', '.join(VARIANTS)}")
    parser.add_argument("--tasks", type=int, default=16, help="tasks of a meta-batch")
    parser.add_argument("--reps", type=int, default=10, help="rounds")
    parser.add_argument("--name", default="gpu", help="name of the file below results/")
    parser.add_argument("--json", action="store_true", help="print JSON")
    options = parser.parse_args(arguments)
    if not torch.cuda.is_available():
        sys.exit("torch sees no CUDA device: this benchmark needs one")
    torch.set_num_threads(1)
    described = {"gpu": torch.cuda.get_device_name(), "torch_cuda": torch.version.cuda}
    rows: list[dict[str, Any]] = []
    content: dict[str, Any] = {}
    for name in options.configs.split(","):
        for row in options.rows.split(","):
            for order in options.orders.split(","):
                found = measure(CONFIGS[name], row, order, options.tasks, options.reps, options.variants.split(","))
                rows.extend(found)
                content = record(options.name, rows, **described)
                for line in [] if options.json else found:
                    print("  ".join(f"{k}={v}" for k, v in line.items() if v is not None), flush=True)
    if options.json:
        print(json.dumps(content, indent=1))


if __name__ == "__main__":
    main()
