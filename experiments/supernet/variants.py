"""Train super-net variants, one change at a time, and judge each by its ranking; goes on where it stopped.

    python experiments/supernet/variants.py --data-root ~/data/omniglot --runs ~/supernet-runs [NAME ...]

Every variant gets the same number of tasks. Its row (see `benchmarks/ranking.py` for the measures) is put into
``variants.json`` here, with the settings and the seconds that training took on one core.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
RESULTS = HERE / "variants.json"
COLUMNS = ("tau", "tau_full_depth", "top_quarter", "gap", "gap_reference", "mean_shared", "disagreement", "seconds")
RANKING = HERE.parents[1] / "benchmarks" / "ranking.py"
EPOCHS, ITERATIONS = 10, 150
BASE = {
    "space.base_width": 16,
    "learner.meta_lr": 4e-3,
    "learner.first_order_epochs": EPOCHS // 2,
    "learner.multi_step_loss": "false",
    "meta_train.epochs": EPOCHS,
    "meta_train.iterations": ITERATIONS,
    "meta_train.tasks": 16,
    "meta_train.n_query": 5,
    "meta_train.validate_every": EPOCHS,
    "meta_train.sampling": "uniform",
}
"""Uniform sampling, one architecture in each meta-batch."""
FOUR = {"meta_train.architectures": 4}
TOGETHER = {
    **FOUR,
    "learner.second_order": "false",
    "learner.rate_scaling": "linear",
    "space.norms": "activation",
}
VARIANTS: dict[str, tuple[str, dict[str, object] | None]] = {
    "uniform": ("one uniformly random architecture a meta-batch", {}),
    "paper": (
        "Eq. 4 of the paper, its shares of the training",
        {"meta_train.sampling": "shrinking", "meta_train.shrink_start": 3},
    ),
    "four": ("four architectures a meta-batch", FOUR),
    "four-again": ("the same with another seed: what differs is noise", {**FOUR, "seed": 1}),
    "eight": ("eight architectures a meta-batch", {"meta_train.architectures": 8}),
    "sandwich": (
        "largest, smallest and two random ones (Yu and Huang, ICCV 2019)",
        {**FOUR, "meta_train.sampling": "sandwich"},
    ),
    "rates-head": ("inner rate of the classifier over its fan-in", {**FOUR, "learner.rate_scaling": "head"}),
    "rates-sqrt": ("also those of convolutions by the root of theirs", {**FOUR, "learner.rate_scaling": "sqrt"}),
    "rates-linear": ("also those of convolutions in proportion", {**FOUR, "learner.rate_scaling": "linear"}),
    "rates-depth": ("inner rates learnt for each depth", None),
    "heads": ("a classifier for each depth", None),
    "norms-kernel": ("gamma and beta for each kernel size", None),
    "norms-width": ("gamma and beta for each width", None),
    "norms-activation": ("gamma and beta for each activation", {**FOUR, "space.norms": "activation"}),
    "norms-sum": ("gamma and beta as a sum of three: of kernel, width, activation", None),
    "transform": ("kernel transform (OFA, Cai et al., ICLR 2020)", {**FOUR, "space.kernels": "transform"}),
    "own-kernels": ("weights of their own for each kernel size", None),
    "rate-2e-3": ("meta learning rate 2e-3", {**FOUR, "learner.meta_lr": 2e-3}),
    "rate-1e-3": ("meta learning rate 1e-3", {**FOUR, "learner.meta_lr": 1e-3}),
    "rates-slow": ("inner rates learnt at a tenth of the meta learning rate", {**FOUR, "learner.rates_lr_factor": 0.1}),
    "distil": (
        "half the query loss from the largest one's answers, a sandwich (Yu and Huang, ICCV 2019)",
        {**FOUR, "meta_train.sampling": "sandwich", "learner.distillation": 0.5},
    ),
    "first-order": ("first-order gradients throughout", {**FOUR, "learner.second_order": "false"}),
    "together": ("first-order gradients, rates-linear and norms-activation", TOGETHER),
    "attentive": (
        "as together, options drawn by what did well so far (after AttentiveNAS, Wang et al., CVPR 2021)",
        {**TOGETHER, "meta_train.sampling": "attentive"},
    ),
    "clamp": ("meta-gradient clamped to 0.1", {**FOUR, "learner.gradient_clamp": 0.1}),
}
"""What it is, and its settings; ``None`` for the row of a removed option, which cannot be measured again."""


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Train super-net variants and judge their ranking.")
    parser.add_argument("names", nargs="*", help="variants; all by default")
    parser.add_argument("--data-root", help="where Omniglot is")
    parser.add_argument("--runs", type=Path, help="folder for the run directories")
    parser.add_argument("--table", action="store_true", help="only print the rows as a table")
    options = parser.parse_args(arguments)
    if options.table:
        return print_table()
    if options.data_root is None or options.runs is None:
        parser.error("--data-root and --runs are needed to train")
    for name in options.names or VARIANTS:
        if VARIANTS[name][1] is not None:
            measure(name, options.runs / name, options.data_root)
        elif options.names:
            parser.error(f"the option of {name} was removed")


def measure(name: str, run: Path, data_root: str) -> None:
    idea, changes = VARIANTS[name]
    settings = {**BASE, **(changes or {})}
    sets = [part for key, value in settings.items() for part in ("--set", f"{key}={value}")]
    hnas = [str(Path(sys.executable).with_name("hnas")), "meta-train", "--preset", "none", "--tasks", "omniglot"]
    began = time.perf_counter()
    subprocess.run([*hnas, "--data-root", data_root, "--workers", "1", "--run-dir", str(run), *sets], check=True)
    seconds = time.perf_counter() - began
    scored = subprocess.run(
        [sys.executable, RANKING, "--test-tasks", "200", "score", run], check=True, stdout=subprocess.PIPE, text=True
    )
    row = {"name": name, "idea": idea, "changes": changes, "seconds": round(seconds), **json.loads(scored.stdout)}
    rows = [r for r in known_rows() if r["name"] != name] + [row]
    RESULTS.write_text("[\n" + ",\n".join(" " + json.dumps(r) for r in rows) + "\n]\n")
    print(json.dumps(row), flush=True)


def known_rows() -> list[dict[str, Any]]:
    return json.loads(RESULTS.read_text()) if RESULTS.is_file() else []


def print_table() -> None:
    """Print the rows as Markdown, in the order in which the variants are named above."""
    print("| variant | what | " + " | ".join(COLUMNS) + " |\n" + "|---" * (2 + len(COLUMNS)) + "|")
    for row in sorted(known_rows(), key=lambda r: list(VARIANTS).index(r["name"])):
        print(f"| {row['name']} | {row['idea']} | " + " | ".join(str(row[c]) for c in COLUMNS) + " |")


if __name__ == "__main__":
    main()
