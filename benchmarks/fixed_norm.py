"""Measure what fixed statistics cost: a network that sees one image at a time, against one that sees all of a task.

    python benchmarks/fixed_norm.py runs/supernet --json

On the run's first test tasks, with one and with five labelled images of a class. ``batch``: normalised by the
statistics of all query images of the task, as papers test. ``support``: by those of the support images after adaption,
as exported models are. Beside it blends of these with the running statistics that MAML++ keeps, and those of the
support images with eight variations of each. Networks: the run's reference and the found one, with the super-net's
weights and, where there are such, re-trained. The cost is paired by task.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import attrs
import torch
from measuring import record
from torch import Tensor
from torch.nn import functional as F

from hnas import Architecture, NormStats
from hnas.discovery import Registry
from hnas.learner import State
from hnas.seeds import Seeds
from hnas.supernet import Params
from hnas.toolkit.codec import load
from hnas_app.config.load import load_config
from hnas_app.search.adapt import Adaption
from hnas_app.training.accuracy import Accuracy
from hnas_app.training.checkpoint import load_latest
from hnas_app.training.evaluate import PURPOSE
from hnas_app.training.fixed_norm import support_statistics
from hnas_app.training.setup.setup import Setup

BLENDS = (0.1, 0.25, 0.5, 1.0)
"""Shares of the running statistics."""
VARIATIONS = 8


def networks(run: Path) -> Iterator[tuple[str, Setup, State, Architecture]]:
    """Yield what a run directory has: name, set-up, weights and architecture."""
    registry = Registry()
    config = load_config(registry, file=run / "config.toml", env={}).config
    space, learner, tasks = (
        registry.create(kind, choice.name, choice.options)
        for kind, choice in (("space", config.space), ("learner", config.learner), ("tasks", config.tasks))
    )
    setup = Setup(
        space=space, learner=learner, tasks=tasks, n_way=config.task.n_way, k_shot=1, seeds=Seeds(config.seed)
    )
    archs = {}
    if name := space.default_reference(setup.image_shape):
        archs[name] = space.references()[name]
    if (found := run / "adapt.json").is_file():
        archs["found"] = load(found, Adaption).chosen.arch
    for name, arch in archs.items():
        if state := load_latest(run / "checkpoints" / "meta-train", "state"):
            yield f"{name}, super-net", setup, state[0], arch
        if state := load_latest(run / "checkpoints" / f"retrain-{name}", "state"):
            yield f"{name}, re-trained", attrs.evolve(setup, alone=arch), state[0], arch


def measure(setup: Setup, state: State, arch: Architecture, n_tasks: int, chunk: int = 25) -> dict[str, list[float]]:
    """Return each task's accuracy (0-1) by kind of statistics."""
    found: dict[str, list[float]] = {}
    for first in range(0, n_tasks, chunk):
        episodes = setup.episodes("test", PURPOSE, range(first, min(first + chunk, n_tasks)), 15)
        adapted = setup.learner.adapt(setup.supernet, state, episodes, arch)
        for name, stats in _statistics(setup, state, arch, adapted, episodes.support_x).items():
            with torch.no_grad():
                logits = setup.supernet.forward_tasks(adapted, episodes.query_x, arch, stats=stats)
            right = (logits.argmax(-1) == episodes.query_y).float().mean(1)
            found.setdefault(name, []).extend(right.tolist())
    return found


def _statistics(
    setup: Setup, state: State, arch: Architecture, adapted: Params, support_x: Tensor
) -> Mapping[str, NormStats | None]:
    of_images = partial(support_statistics, setup.learner, setup.supernet, adapted, arch=arch)
    support = of_images(support_x)
    stats: dict[str, NormStats | None] = {"batch": None, "support": support}
    stats[f"support and {VARIATIONS} variations"] = of_images(varied(support_x))
    if all(f"stats/{layer}.mean" in state for layer in support.mean):
        stats |= {f"{share:g} running": blended(support, state, share) for share in BLENDS}
    return stats


def blended(support: NormStats, state: State, share: float) -> NormStats:
    """Return the statistics of a mixture: ``share`` of the images are those that the running ones were taken of."""
    mean, var = {}, {}
    for layer, own in support.mean.items():
        running, spread = (state[f"stats/{layer}.{part}"][-1, : own.shape[-1]] for part in ("mean", "var"))
        mean[layer] = torch.lerp(own, running.expand_as(own), share)
        within = torch.lerp(support.var[layer], spread.expand_as(own), share)
        var[layer] = within + share * (1 - share) * (own - running) ** 2
    return NormStats("apply", mean, var)


def varied(x: Tensor) -> Tensor:
    """Return images (T, N, C, H, W) with turned, scaled and shifted ones beside them."""
    images, generator = x.flatten(0, 1), torch.Generator().manual_seed(0)
    parts = [x]
    for _ in range(VARIATIONS):
        angle, scale_x, scale_y, across, down = torch.rand(5, len(images), generator=generator) * 2 - 1
        angle, scale_x, scale_y = 0.35 * angle, 1 + 0.15 * scale_x, 1 + 0.15 * scale_y
        rows = (angle.cos() * scale_x, -angle.sin(), 0.15 * across, angle.sin(), angle.cos() * scale_y, 0.15 * down)
        turn = torch.stack(rows, 1).view(-1, 2, 3)
        grid = F.affine_grid(turn, list(images.shape), align_corners=False)
        parts.append(F.grid_sample(images, grid, align_corners=False).view(x.shape))
    return torch.cat(parts, 1)


def rows_of(run: Path, n_tasks: int) -> Iterator[dict[str, Any]]:
    """Yield a row for each network, number of labelled images and kind of statistics."""
    for name, setup, state, arch in networks(run):
        for k_shot in (1, 5):
            found = measure(attrs.evolve(setup, k_shot=k_shot), state, arch, n_tasks)
            for kind, accuracies in found.items():
                cost = Accuracy.over([a - b for a, b in zip(found["batch"], accuracies, strict=True)])
                yield {
                    "network": name,
                    "k_shot": k_shot,
                    "statistics": kind,
                    "accuracy": round(100 * Accuracy.over(accuracies).mean, 2),
                    "cost_points": round(100 * cost.mean, 2),
                    "cost_95": cost.half_width and round(100 * cost.half_width, 2),
                    "tasks": n_tasks,
                }


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Measure what fixed statistics cost in accuracy.")
    parser.add_argument("run", type=Path, help="run directory with a trained super-net")
    parser.add_argument("--tasks", type=int, default=100, help="test tasks")
    parser.add_argument("--name", default="fixed_norm", help="name of the file below results/")
    parser.add_argument("--json", action="store_true", help="print JSON")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    rows = []
    for row in rows_of(options.run, options.tasks):
        rows.append(row)
        if not options.json:
            print("  ".join(f"{k}={v}" for k, v in row.items()), flush=True)
    content = record(options.name, rows)
    if options.json:
        print(json.dumps(content, indent=1))


if __name__ == "__main__":
    main()
