"""Measure what giving freed memory back costs in time, and the peak memory of whole runs.

    python benchmarks/heap.py --json                     # work with and without it, in turn
    python benchmarks/heap.py --peaks --json             # whole `quick` runs, cut short

Both variants do the same work in a worker process of their own, which lasts. `settled` is the project: test tasks are
not kept, validation tasks are kept in one block, and free memory is given back when the worker has grown. `kept` is how
it was: tasks are kept each where it was drawn, and the worker keeps what it has. `evaluate` scores a network on 100
tasks, `search` scores eight networks on some of a pool, `train` computes meta-gradients; each round has other networks.
`resident_mb` is the worker's memory in the end.

`--peaks` adds up the proportional set sizes (PSS) of all processes of a run, ten times a second.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

from measuring import interleave, record, settle_environment

if __name__ == "__main__":
    settle_environment()

import numpy as np
from configs import SyntheticTasks
from PIL import Image, ImageDraw

from hnas import Episodes, Progress, Seeds
from hnas_app.executors import local_processes
from hnas_app.executors.local_processes import LocalProcesses
from hnas_app.search.score_store import _score
from hnas_app.training.meta_batch import GradientItem, Part, gradient_part
from hnas_app.training.outer_loop import score_part
from hnas_app.training.setup import episode_streams
from hnas_app.training.setup.prefetch import Draw, Stream
from hnas_app.training.setup.setup import Setup, to_workers
from hnas_plugins.meta_learners.maml import MAML
from hnas_plugins.meta_learners.options import MAMLPlusPlusOptions
from hnas_plugins.spaces.vgg9 import VGG9, VGG9Options

KEPT_BYTES = 64 << 20
CUT = {
    "meta_train.epochs": 2,
    "meta_train.iterations": 10,
    "retrain.epochs": 2,
    "retrain.iterations": 10,
    "strategy.iterations": 3,
}
"""Settings that cut a `quick` run short; its peak is that of a whole one."""


class KeptSingly:
    """How tasks were remembered: each where it was drawn, until 64 MB are full."""

    def __init__(self, draw: Draw) -> None:
        self._draw = draw
        self._drawn: OrderedDict[object, Episodes] = OrderedDict()

    def get(self, stream: Stream, indices: Sequence[int]) -> Episodes:
        return Episodes.gather((self._task(stream, i) for i in indices), len(indices))

    def _task(self, stream: Stream, index: int) -> Episodes:
        key = (stream, index)
        if key in self._drawn:
            self._drawn.move_to_end(key)
            return self._drawn[key]
        task = self._drawn[key] = self._draw(stream, [index])
        while sum(t.nbytes for t in self._drawn.values()) > KEPT_BYTES and len(self._drawn) > 1:
            self._drawn.popitem(last=False)
        return task


def as_it_was(values: Mapping[str, Any], item: Any) -> None:
    """Run in a worker: keep memory from now on, as earlier versions did."""
    local_processes.settle_heap = lambda: None
    episode_streams.Remembered = KeptSingly  # type: ignore[assignment,misc]


def evaluate(pool: LocalProcesses, setup: Setup, number: int, split: str) -> None:
    """Score the architecture of a round on 100 tasks."""
    arch = setup.space.sample(np.random.default_rng(number))
    pool.map(score_part, [(arch, split, "test-tasks", range(t, t + 25), 15) for t in range(0, 100, 25)])


def search(pool: LocalProcesses, setup: Setup, number: int) -> None:
    """Score eight architectures of a round, each on 16 of 200 tasks."""
    generator = np.random.default_rng(number)
    archs = [setup.space.sample(generator) for _ in range(8)]
    pool.map(_score, [(a, tuple(generator.choice(200, 16, replace=False).tolist()), 5, "query") for a in archs])


def train(pool: LocalProcesses, setup: Setup, number: int) -> None:
    """Compute five meta-gradients of a round's architecture."""
    arch = setup.space.sample(np.random.default_rng(number))
    for iteration in range(5):
        progress = Progress(iteration=10 * number + iteration, iterations_per_epoch=90, epochs=10**6)
        pool.map(gradient_part, [GradientItem(Part(arch=arch, tasks=range(8)), progress, 5, "retrain-tasks")])


def resident_mb(values: Mapping[str, Any], item: Any) -> int:
    """Run in a worker: its resident memory."""
    return round(int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6)


def cpu_s(values: Mapping[str, Any], item: Any) -> float:
    """Run in a worker: the CPU seconds that it has taken, in user code and in the system."""
    return time.process_time()


def compared(work: str, reps: int) -> dict[str, Any]:
    """Return the median seconds of both variants of a kind of work, and their ratio."""
    options = MAMLPlusPlusOptions(first_order_epochs=10, multi_step_loss=False)
    space, tasks = VGG9(VGG9Options(base_width=24)), SyntheticTasks((3, 32, 32))
    setup = Setup(space=space, learner=MAML(options), tasks=tasks, n_way=5, k_shot=1, seeds=Seeds(0))
    state = to_workers(setup.learner.init(setup.supernet, setup.seeds.torch("init")))
    rounds = {"settled": count(), "kept": count()}
    cpu: dict[str, list[float]] = {variant: [] for variant in rounds}
    with LocalProcesses(1) as settled, LocalProcesses(1) as kept:
        pools = {"settled": settled, "kept": kept}
        kept.map(as_it_was, [None])
        for pool in pools.values():
            pool.put(setup=setup, state=state, scored=state)

        def call(variant: str) -> None:
            pool, number = pools[variant], next(rounds[variant])
            (before,) = pool.map(cpu_s, [None])
            if work == "evaluate":  # the tasks of both splits are the same
                evaluate(pool, setup, number, "test" if variant == "settled" else "validation")
            else:
                {"search": search, "train": train}[work](pool, setup, number)
            cpu[variant].append(pool.map(cpu_s, [None])[0] - before)

        found = interleave({v: partial(call, v) for v in pools}, reps)
        memory = {v: pool.map(resident_mb, [None])[0] for v, pool in pools.items()}
    seconds = {v: round(timing.wall_s, 3) for v, timing in found.items()}
    ratio = round(found["settled"].wall_s / found["kept"].wall_s, 3)
    row = {"work": work, "seconds": seconds, "ratio": ratio, "resident_mb": memory, "reps": reps}
    # Without the warm-up; on a busy machine the better measure.
    settled_s, kept_s = (statistics.median(cpu[v][1:]) for v in ("settled", "kept"))
    return row | {
        "cpu_seconds": {"settled": round(settled_s, 3), "kept": round(kept_s, 3)},
        "ratio_cpu": round(settled_s / kept_s, 3),
    }


def draw_pictures(folder: Path, side: int) -> Path:
    """Draw 60 classes of 30 colour pictures: a few strokes on white, which move a little from picture to picture."""
    generator = np.random.default_rng(0)
    for number in range(60):
        (folder / f"class{number:02d}").mkdir(parents=True)
        strokes, colour = generator.integers(0, side, (4, 2)), tuple(generator.integers(0, 255, 3).tolist())
        for i in range(30):
            image = Image.new("RGB", (side, side), "white")
            points = (strokes + generator.integers(-3, 4, strokes.shape)).ravel().tolist()
            ImageDraw.Draw(image).line(points, fill=colour, width=3)
            image.save(folder / f"class{number:02d}" / f"{i}.png")
    return folder


def peak_gb(kind: str, folder: Path, workers: int) -> float:
    """Return the peak memory of a `quick` run that is cut short, with all its processes, in GB.

    ``kind`` is the side of colour pictures, in pixels, or a name of drawn tasks. Raises `RuntimeError` if it fails.
    """
    tasks = ["--tasks", kind]
    if kind.isdecimal():
        root = draw_pictures(folder / f"pictures{kind}", int(kind))
        tasks = ["--tasks", "folder", "--set", f"tasks.root={root}", "--set", f"tasks.side={kind}"]
    sets = [part for key, value in CUT.items() for part in ("--set", f"{key}={value}")]
    command = [sys.executable, "-m", "hnas", "run", "--preset", "quick", "--workers", str(workers), *tasks, *sets]
    with tempfile.TemporaryFile("w+") as told:
        run = subprocess.Popen([*command, "--run-dir", str(folder / f"run{kind}")], stdout=told, stderr=told)
        peak = 0
        while run.poll() is None:
            peak = max(peak, sum(map(_pss_kb, _with_children(run.pid))))
            time.sleep(0.1)
        told.seek(0)
        if run.returncode:
            raise RuntimeError(f"the run on {kind} ended with code {run.returncode}: {told.read()[-2000:]}")
    return round(peak * 1024 / 1e9, 3)


def _with_children(process: int) -> list[int]:
    try:
        children = [p.read_text().split() for p in Path(f"/proc/{process}/task").glob("*/children")]
    except OSError:  # it has ended
        return []
    return [process, *(p for each in children for child in each for p in _with_children(int(child)))]


def _pss_kb(process: int) -> int:
    try:
        lines = Path(f"/proc/{process}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith("Pss:")), 0)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Measure what giving freed memory back costs, and peaks of memory.")
    parser.add_argument("--work", nargs="+", default=["evaluate", "search", "train"], help="kinds of work to time")
    parser.add_argument("--reps", type=int, default=20, help="rounds, each with another architecture")
    parser.add_argument("--peaks", nargs="*", metavar="KIND", help="whole runs instead: sides in pixels, or `glyphs`")
    parser.add_argument("--workers", type=int, default=2, help="of whole runs")
    parser.add_argument("--name", help="name of the file below results/ (heap, or heap_peaks)")
    parser.add_argument("--json", action="store_true", help="print the record")
    options = parser.parse_args(arguments)
    rows: list[dict[str, Any]] = []
    if options.peaks is None:
        for work in options.work:
            rows.append(compared(work, options.reps))
            print(json.dumps(rows[-1]), file=sys.stderr, flush=True)
    else:
        for kind in options.peaks or ["glyphs", "32", "84"]:
            with tempfile.TemporaryDirectory() as folder:
                peak = peak_gb(kind, Path(folder), options.workers)
            rows.append({"tasks": kind, "workers": options.workers, "peak_gb": peak})
            print(json.dumps(rows[-1]), file=sys.stderr, flush=True)
    content = record(options.name or ("heap" if options.peaks is None else "heap_peaks"), rows)
    if options.json:
        print(json.dumps(content, indent=1))


if __name__ == "__main__":
    main()
