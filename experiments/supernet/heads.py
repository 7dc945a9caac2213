"""Compare the super-net's two classifiers: an output for each class, and one vector that all classes start at.

    python experiments/supernet/heads.py --tasks omniglot --data-root ~/data/omniglot --runs ~/head-runs [NAME ...]
    python experiments/supernet/heads.py --table

Trains a super-net for each NAME with one budget, by `hnas meta-train`, and gives the reference network and random ones
its weights at several numbers of classes. Goes on where it stopped, whenever that was. Each row of ``heads.json`` here
is a super-net at one number of classes: accuracies in percent over the same test tasks; ``tau`` is Kendall's rank
correlation of the networks' order with that of ``own``, at as many classes. `benchmarks/ranking.py score RUN` compares
the order with that of networks trained alone.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))

from measuring import settle_environment

if __name__ == "__main__":
    settle_environment()

import numpy as np
from variants import BASE, TOGETHER

from hnas import ConfigError
from hnas_app.cli.invocation import Invocation
from hnas_app.cli.terminal import at_terminal
from hnas_app.config.schema import EvaluateConfig
from hnas_app.costs.agreement import kendall_tau
from hnas_app.training.evaluate import evaluate
from hnas_app.training.setup.fewer_classes import with_classes
from hnas_app.usecases.arguments import Given
from hnas_app.usecases.opening import continued

RESULTS = Path(__file__).with_name("heads.json")
COLUMNS = ("tasks", "name", "seed", "iterations", "test_tasks", "n_way", "reference", "half_width", "random", "tau")
RECIPES: dict[str, dict[str, object]] = {
    "omniglot": {**BASE, **TOGETHER},
    "mini-imagenet": {
        **BASE,
        **TOGETHER,
        "space.pool": 5,
        "learner.inner_lr": 0.01,
        "learner.meta_lr": 2e-3,
        "learner.gradient_clamp": 10,
        "meta_train.tasks": 8,
    },
}
SHARED = {"space.classifier": "shared"}
NAMES: dict[str, dict[str, object]] = {
    "own": {},
    "shared": SHARED,
    "own-20": {"task.n_way": 20},
    "shared-20": {**SHARED, "task.n_way": 20},
}
"""Super-nets and their settings; those of ``-20`` are trained with tasks of 20 classes, the others with 5."""
WAYS = (2, 5, 10, 20)
RANDOM = 12
"""Random networks that are tested besides the reference network."""


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Compare the super-net's two classifiers.")
    parser.add_argument("names", nargs="*", help=f"super-nets of {list(NAMES)}; the first two by default")
    parser.add_argument("--tasks", choices=RECIPES, default="omniglot")
    parser.add_argument("--data-root", help="where the data are")
    parser.add_argument("--runs", type=Path, help="folder for the run directories")
    parser.add_argument("--iterations", type=int, default=1500, help="of meta-training, in ten epochs")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--test-tasks", type=int, default=200)
    parser.add_argument("--table", action="store_true", help="only print the rows as a table")
    options = parser.parse_args(arguments)
    if options.table:
        return print_table()
    if options.data_root is None or options.runs is None:
        parser.error("--data-root and --runs are needed to train")
    if strange := set(options.names) - set(NAMES):
        parser.error(f"no super-nets {sorted(strange)}; there are {list(NAMES)}")
    for name in options.names or ("own", "shared"):
        run = options.runs / f"{options.tasks}-{name}-{options.iterations}-{options.seed}"
        trained(run, name, options)
        measure(run, name, options)


def trained(run: Path, name: str, options: argparse.Namespace) -> None:
    """Train the super-net, or go on with it."""
    epochs = int(str(BASE["meta_train.epochs"]))
    settings = {**RECIPES[options.tasks], **NAMES[name], "seed": options.seed}
    settings |= {"meta_train.iterations": options.iterations // epochs}
    sets = [part for key, value in settings.items() for part in ("--set", f"{key}={value}")]
    hnas = [str(Path(sys.executable).with_name("hnas")), "meta-train", "--preset", "none", "--tasks", options.tasks]
    words = [*hnas, "--data-root", options.data_root, "--workers", str(options.workers), "--run-dir", str(run), *sets]
    subprocess.run(words, check=True)


def measure(run: Path, name: str, options: argparse.Namespace) -> None:
    """Write a row for each number of classes that the super-net serves and that has none."""
    test = EvaluateConfig(tasks=options.test_tasks, n_query=5)
    row = {"tasks": options.tasks, "name": name, "seed": options.seed}
    row |= {"iterations": options.iterations, "test_tasks": options.test_tasks}
    with at_terminal(Invocation(), "{}") as caller, continued(caller, "adapt", run, Given()) as phases:
        space, generator = phases.setup.space, np.random.default_rng(0)
        archs = [space.reference(space.default_reference(phases.setup.image_shape))]
        archs += [space.sample(generator) for _ in range(RANDOM)]
        state = phases.meta_train()
        for n_way in WAYS:
            key = {**row, "n_way": n_way}
            if any(key.items() <= known.items() for known in known_rows()):
                continue
            try:
                setup, weights = with_classes(phases.setup, state, n_way)
            except ConfigError:  # it has fewer outputs
                continue
            found = [evaluate(setup, weights, arch, test, phases.executor) for arch in archs]
            means = [round(100 * accuracy.mean, 2) for accuracy in found]
            key |= {"reference": means[0], "half_width": round(100 * (found[0].half_width or 0.0), 2)}
            key |= {"random": round(statistics.fmean(means[1:]), 2), "networks": means}
            print(json.dumps(key), flush=True)
            rows = [*known_rows(), key]
            RESULTS.write_text("[\n" + ",\n".join(" " + json.dumps(r) for r in rows) + "\n]\n")


def known_rows() -> list[dict[str, Any]]:
    return json.loads(RESULTS.read_text()) if RESULTS.is_file() else []


def print_table() -> None:
    """Print the rows as Markdown."""
    print("| " + " | ".join(COLUMNS) + " |\n" + "|---" * len(COLUMNS) + "|")
    rows = known_rows()
    alike = ("tasks", "seed", "iterations", "test_tasks", "n_way")
    for row in rows:
        own = [r for r in rows if r["name"] == "own" and all(r[k] == row[k] for k in alike)]
        row["tau"] = round(kendall_tau(own[0]["networks"], row["networks"]), 2) if own else "–"
        print("| " + " | ".join(str(row[c]) for c in COLUMNS) + " |")


if __name__ == "__main__":
    main()
