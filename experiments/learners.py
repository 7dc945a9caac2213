"""Train the reference network alone by each learner, with one budget, and test it: the table of docs/learners.md.

    python experiments/learners.py --data-root ~/data/omniglot [LEARNER ...]      # hours; goes on where it stopped
    python experiments/learners.py --data-root ~/data/omniglot meta-sgd --try learner.inner_lr=0.1 --iterations 200
    python experiments/learners.py --table

Omniglot 5-way 1-shot, the space VGG9 at base width 16, 1,000 iterations of 16 tasks. Each learner and seed has a file
in ``learners/``, and is left out if it is there. Seconds are of the training, on whatever else the machine did.
``--try`` changes settings and reports accuracy on validation classes, which rates are tuned on; it leaves no file.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))

from measuring import settle_environment

if __name__ == "__main__":
    settle_environment()

from hnas import Registry, Seeds
from hnas.task_source import Split
from hnas_app.executors.in_process import InProcess
from hnas_app.training.accuracy import Accuracy
from hnas_app.training.outer_loop import TrainPlan, score_tasks, train
from hnas_app.training.setup.setup import Setup

RESULTS = Path(__file__).with_suffix("")
REFERENCE = "maml++-omniglot"
N_WAY, K_SHOT, EPOCHS, TASKS = 5, 1, 10, 16
OUTER = {"learner.meta_lr": 4e-3, "learner.meta_lr_end": 1e-5}
"""The outer loop of a training as short as this, for all learners: that of the preset quick."""
ANNEALED = {**OUTER, "learner.cosine_annealing": True}
MAPS = {**OUTER, "space.pool": 2}
"""For learners that compare places of a map: with the mean of each channel there would be one."""
SETTINGS: dict[str, dict[str, Any]] = {
    "maml++": {**OUTER, "learner.first_order_epochs": EPOCHS // 2, "learner.multi_step_loss": False},
    "maml": ANNEALED,
    "meta-sgd": ANNEALED,
    "alfa": ANNEALED,
    "l2f": ANNEALED,
    "anil": ANNEALED,
    "prototypical": OUTER,
    "matching": OUTER,
    "relation": MAPS,
    "siamese": OUTER,
    "meta-baseline": {**OUTER, "learner.pretrain": 0.1},  # a classifier of 4,112 classes learns little in so few
    "deepemd": MAPS,
}
"""The learners, and what each has other than its defaults."""


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Train the reference network alone by each learner.")
    parser.add_argument("learners", nargs="*", help=f"of {list(SETTINGS)}; all by default")
    parser.add_argument("--data-root", help="where Omniglot is")
    parser.add_argument("--seeds", type=int, default=3, help="how many; they count from 0")
    parser.add_argument("--iterations", type=int, default=1000, help="of training, in ten epochs")
    parser.add_argument("--test-tasks", type=int, default=600)
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder of the files")
    parser.add_argument("--try", dest="tried", action="append", default=[], metavar="KEY=VALUE", help="a setting")
    parser.add_argument("--table", action="store_true", help="only print the files as a table")
    options = parser.parse_args(arguments)
    if strange := set(options.learners) - set(SETTINGS):
        parser.error(f"no learners {sorted(strange)}; there are {list(SETTINGS)}")
    if options.table:
        return print_table(options.results)
    if options.data_root is None:
        parser.error("--data-root is needed to train")
    if options.iterations < EPOCHS:
        parser.error(f"--iterations {options.iterations}: at least {EPOCHS}, one for each epoch")
    tried = {key: _value(value) for key, _, value in (word.partition("=") for word in options.tried)}
    for learner in options.learners or SETTINGS:  # one that cannot be made is refused before hours of others
        setup_of(learner, {**SETTINGS[learner], **tried}, options.data_root, 0)
    for seed in range(options.seeds):  # a seed of all learners before the next: the table is whole early
        for learner in options.learners or SETTINGS:
            path = options.results / f"{learner}-{seed}.json"
            settings = {**SETTINGS[learner], **tried}
            recipe = {"learner": learner, "seed": seed, "settings": settings}
            recipe |= {"iterations": options.iterations, "test_tasks": options.test_tasks}
            if tried:
                print(json.dumps(recipe | measured(options.data_root, recipe, "validation")), flush=True)
            elif not _is_known(path, recipe):
                row = recipe | measured(options.data_root, recipe, "test")
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(json.dumps(row, indent=1) + "\n")
                print(f"{path.name}: {row['accuracy']:.4f} in {row['seconds']:.0f} s", flush=True)


def measured(root: str, recipe: Mapping[str, Any], split: Split) -> dict[str, Any]:
    """Return what a training and a test of one learner and seed found."""
    setup = setup_of(recipe["learner"], recipe["settings"], root, recipe["seed"])
    arch = setup.alone
    assert arch is not None
    plan = TrainPlan(epochs=EPOCHS, iterations=recipe["iterations"] // EPOCHS, tasks=TASKS, n_query=5)
    started = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder, InProcess() as here:
        state = train(
            setup, plan, lambda _: (arch,), here, phase="alone", folder=Path(folder), emit=lambda event: None,
            start=lambda: setup.fresh_state("alone-init"),
        )  # fmt: skip
        seconds = time.perf_counter() - started
        setup.send(here)
        _, found = score_tasks(here, state, arch, split, "test-tasks", recipe["test_tasks"], 15)
    accuracy, inference = Accuracy.over(found), setup.inference(arch)
    half_width = accuracy.half_width and round(accuracy.half_width, 4)
    return {
        "split": split,
        "accuracy": round(accuracy.mean, 4),
        "half_width": half_width,
        "seconds": round(seconds, 1),
        "passes": round(inference.passes, 3),
        "stored_B": inference.stored,
    }


def setup_of(learner: str, settings: Mapping[str, Any], root: str, seed: int) -> Setup:
    """Return the set-up of the reference network alone."""
    registry, given = Registry(third_party=False), {"space.base_width": 16, "tasks.root": root, **settings}

    def made(kind: str, name: str) -> Any:
        own = {k.removeprefix(f"{kind}."): v for k, v in given.items() if k.startswith(f"{kind}.")}
        return registry.create(kind, name, own)

    space = made("space", "vgg9")
    return Setup(
        space=space,
        learner=made("learner", learner),
        tasks=made("tasks", "omniglot"),
        n_way=N_WAY,
        k_shot=K_SHOT,
        seeds=Seeds(seed),
        alone=space.references()[REFERENCE],
    )


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        return text


def _is_known(path: Path, recipe: Mapping[str, Any]) -> bool:
    """Return whether there is a file. Exits if it is of another recipe: a table would mix the two."""
    if not path.is_file():
        return False
    known = json.loads(path.read_text())
    unlike = [f"{k} {known.get(k)}, not {v}" for k, v in recipe.items() if known.get(k) != v]
    if unlike:
        raise SystemExit(f"{path} is of another recipe: {'; '.join(unlike)}. Remove it, or give other --results")
    return True


def print_table(results: Path) -> None:
    """Print a row for each learner as Markdown: means over seeds, and the 95 % interval of the accuracy."""
    rows = [json.loads(path.read_text()) for path in results.glob("*.json")]
    if not rows:
        raise SystemExit(f"{results} has no files; train first")
    print("| learner | accuracy, % | seeds | iterations | training, s | passes | stored, B |")
    print("|---|---|---|---|---|---|---|")
    for learner in SETTINGS:
        own = [row for row in rows if row["learner"] == learner]
        for iterations in sorted({row["iterations"] for row in own}):
            alike = [row for row in own if row["iterations"] == iterations]
            over = Accuracy.over([row["accuracy"] for row in alike])
            accuracy = f"{100 * over.mean:.2f}" + (f" ± {100 * over.half_width:.2f}" if over.half_width else "")
            seconds = sum(row["seconds"] for row in alike) / len(alike)
            first = alike[0]
            cells = (learner, accuracy, len(alike), iterations, f"{seconds:.0f}", f"{first['passes']:g}")
            print("| " + " | ".join(map(str, cells)) + f" | {first['stored_B']:,} |")


if __name__ == "__main__":
    main()
