"""Measure how fast tasks are drawn, and how long a training waits for them.

    python benchmarks/episodes.py --data-root ~/data        # folders omniglot and mini-imagenet, where they are
    python benchmarks/episodes.py --data-root ~/data --json

`drawing`: tasks a second from memory: one by one, and sixteen at once (a training's meta-batch). The peer draws the
same kind of task from the same images the plain way: classes and images by `Generator.choice`, image after image.
`waiting`: iterations of meta-training, two random architectures each, with tasks that cost nothing, drawn as they are
needed, and drawn ahead: by worker processes that wait for their driver, or, in one process, by a thread. The share of
an iteration that tasks take is what it is longer than with tasks that cost nothing; `waited` is what all workers
together spend in an iteration from asking for tasks to having them.
"""

from __future__ import annotations

import argparse
import itertools
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from measuring import interleave, record, settle_environment

if __name__ == "__main__":
    settle_environment()

import attrs
import numpy as np
import torch

from hnas import Episodes, EpisodeSpec, Progress, Seeds, TaskSource
from hnas.toolkit.cores import usable_cores
from hnas_app.executors.choice import executor
from hnas_app.executors.interface import Executor
from hnas_app.training.meta_batch import GradientItem, cut, gradient_part
from hnas_app.training.setup.setup import Setup, to_workers
from hnas_plugins.meta_learners.maml import MAML
from hnas_plugins.meta_learners.options import MAMLPlusPlusOptions
from hnas_plugins.spaces.vgg9 import VGG9, VGG9Options
from hnas_plugins.tasks.glyphs.source import Glyphs
from hnas_plugins.tasks.mini_imagenet.source import MiniImageNet, MiniImageNetOptions
from hnas_plugins.tasks.omniglot.source import Omniglot, OmniglotOptions

SPEC = EpisodeSpec(n_way=5, k_shot=1, n_query=15)
TASKS = 208
"""Drawn in one round."""
WIDTH, ITERATIONS = 16, 20
"""Of the networks, and in one round of `waiting`."""


def sources(root: Path) -> dict[str, TaskSource]:
    """Return the sources whose data are there."""
    found: dict[str, TaskSource] = {"glyphs": Glyphs()}
    if (root / "omniglot").is_dir():
        found["omniglot"] = Omniglot(OmniglotOptions(root=str(root / "omniglot")))
    if (root / "mini-imagenet").is_dir():
        found["mini-imagenet"] = MiniImageNet(MiniImageNetOptions(root=str(root / "mini-imagenet")))
    return found


def plain(images: np.ndarray, spec: EpisodeSpec, generator: np.random.Generator) -> tuple[torch.Tensor, ...]:
    """Draw one task of ``images`` (classes, each, H, W[, C]) without any of the project's code."""
    support, query = [], []
    for c in generator.choice(len(images), spec.n_way, replace=False):
        drawn = generator.choice(images.shape[1], spec.k_shot + spec.n_query, replace=False)
        for i, image in enumerate(drawn):
            pixels = torch.from_numpy(images[c, image].astype(np.float32) / 255).reshape(-1, *images.shape[2:4])
            (support if i < spec.k_shot else query).append(pixels)
    labels = torch.arange(spec.n_way)
    return (
        torch.stack(support),
        labels.repeat_interleave(spec.k_shot),
        torch.stack(query),
        labels.repeat_interleave(spec.n_query),
    )


def drawing(name: str, source: TaskSource, reps: int) -> dict[str, Any]:
    """Time drawing one by one, all at once, and the peer."""
    seeds, shape = Seeds(0), source.image_shape
    channels, height, width = shape
    # drawn numbers, for zeros would all lie in one page of memory
    peers = np.random.default_rng(0).integers(0, 256, (200, 40, height, width, channels), np.uint8)
    calls: dict[str, Callable[[], object]] = {
        "one_by_one": lambda: [source.sample("train", SPEC, [seeds.numpy("draw", i)]) for i in range(TASKS)],
        "each": lambda: [
            source.sample("train", SPEC, [seeds.numpy("draw", i) for i in range(a, a + 16)])
            for a in range(0, TASKS, 16)
        ],
        "plain": lambda: [plain(peers, SPEC, np.random.default_rng(i)) for i in range(TASKS)],
    }
    timed = interleave(calls, reps)
    rates = {f"{k}_per_s": round(TASKS / t.wall_s) for k, t in timed.items()}
    ratio = round(timed["plain"].wall_s / timed["each"].wall_s, 2)
    return {"kind": "drawing", "source": name, "tasks": TASKS, **rates, "ratio_over_plain": ratio}


def waiting(name: str, source: TaskSource, workers: int, reps: int) -> dict[str, Any]:
    """Time iterations of 16 tasks, 5 query images, first order."""
    learner = MAML(MAMLPlusPlusOptions(second_order=False, multi_step_loss=False))
    space = VGG9(VGG9Options(base_width=WIDTH))
    ahead = Setup(space=space, learner=learner, tasks=source, n_way=5, k_shot=1, seeds=Seeds(0), prefetch=workers == 1)
    plainly = Unprepared(space=space, learner=learner, tasks=source, n_way=5, k_shot=1, seeds=Seeds(0))
    setups = {"drawn": plainly, "ahead": ahead, "none": attrs.evolve(plainly, tasks=Repeating(source))}

    waited: dict[str, list[float]] = {variant: [] for variant in setups}

    def iterations(variant: str, setup: Setup, pool: Executor) -> Callable[[], object]:
        state = learner.init(setup.supernet, torch.Generator().manual_seed(0))
        done = itertools.count()
        setup.send(pool)

        def call() -> None:
            for iteration in itertools.islice(done, ITERATIONS):
                progress = Progress(iteration=iteration, iterations_per_epoch=100, epochs=100)
                rng = np.random.default_rng(iteration)
                parts = cut([space.sample(rng) for _ in range(2)], 16, pool.size, setup.work)
                pool.put(state=to_workers(state))
                items = [GradientItem(part, progress, 5, "benchmark-tasks") for part in parts]
                sums, _ = pool.map_sum(timed_part, items)
                waited[variant].append(float(sums.pop("waited")))
                learner.update(state, {k: torch.from_numpy(v) for k, v in sums.items()}, 16, progress)

        return call

    with ExitStack() as stack:
        pools = {variant: stack.enter_context(executor(workers)) for variant in setups}
        calls = {variant: iterations(variant, setup, pools[variant]) for variant, setup in setups.items()}
        timed = interleave(calls, reps, twice=True)
    shares = {f"share_{k}": round(1 - timed["none"].wall_s / timed[k].wall_s, 3) for k in ("drawn", "ahead")}
    each = {f"{k}_ms": round(1e3 * t.wall_s / ITERATIONS, 2) for k, t in timed.items()}
    # in the first round a worker also reads its data
    mean = {f"waited_{k}_ms": round(1e3 * statistics.mean(waited[k][ITERATIONS:]), 2) for k in ("drawn", "ahead")}
    return {"kind": "waiting", "source": name, "width": WIDTH, "workers": workers, **each, **shares, **mean}


@attrs.define
class Timed:
    """Adds up the seconds from asking a set-up for tasks to having them."""

    setup: Setup
    waited: float = 0.0

    def __getattr__(self, name: str) -> Any:
        return getattr(self.setup, name)

    def episodes(self, *arguments: Any) -> Episodes:
        started = time.perf_counter()
        found = self.setup.episodes(*arguments)
        self.waited += time.perf_counter() - started
        return found


def timed_part(values: Mapping[str, Any], item: GradientItem) -> tuple[dict[str, Any], tuple[float, float]]:
    """Run in a worker: `gradient_part`, and the seconds that it waited for its tasks, added up like a gradient."""
    timed = Timed(values["setup"])
    arrays, scores = gradient_part({**values, "setup": timed}, item)
    return arrays | {"waited": np.array(timed.waited)}, scores


class Unprepared(Setup):
    """Draws every task when it is needed."""

    def prepare(self) -> bool:
        return False


class Repeating(TaskSource):
    """Always the same tasks, at no cost."""

    def __init__(self, source: TaskSource) -> None:
        self._source = source
        self._drawn: dict[tuple[int, EpisodeSpec], Episodes] = {}

    @property
    def image_shape(self) -> tuple[int, int, int]:
        return self._source.image_shape

    def n_classes(self, split: Any) -> int:
        return self._source.n_classes(split)

    def sample(self, split: Any, spec: EpisodeSpec, generators: Sequence[np.random.Generator]) -> Episodes:
        key = (len(generators), spec)
        if key not in self._drawn:
            self._drawn[key] = self._source.sample(split, spec, generators)
        return self._drawn[key]


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Measure how fast tasks are drawn.")
    parser.add_argument("--data-root", type=Path, default=Path("data"), help="folder of the sets' folders")
    parser.add_argument("--reps", type=int, default=7)
    parser.add_argument("--name", default="episodes", help="name of the file below results/")
    parser.add_argument("--json", action="store_true", help="keep the numbers in results/")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    rows = []
    for name, source in sources(options.data_root.expanduser()).items():
        rows.append(drawing(name, source, options.reps))
        print(rows[-1], flush=True)
        for workers in sorted({1, usable_cores()}):
            rows.append(waiting(name, source, workers, options.reps))
            print(rows[-1], flush=True)
    if options.json:
        record(options.name, rows)


if __name__ == "__main__":
    main()
