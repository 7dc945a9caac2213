"""Compare the network that a search found with the reference network, both trained alone with one budget.

    hnas adapt runs/supernet --constraint 'params<=1ref,macs<=0.9ref'
    python experiments/supernet/found.py RUN --data-root ~/data/omniglot

RUN is the run directory that `hnas adapt` wrote (it says which). Prints a JSON object: sizes of both, accuracies in
percent for each seed, and the mean difference with its 95 % interval over seeds (Student's t).
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))

from measuring import settle_environment

if __name__ == "__main__":
    settle_environment()

from ranking import REFERENCE, setup_of, sizes, train_alone

from hnas import Architecture
from hnas_app.config.schema import EvaluateConfig
from hnas_app.executors.choice import executor
from hnas_app.training.accuracy import t_95

WIDTH = 16


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Compare a network that was found with the reference network.")
    parser.add_argument("run", type=Path, help="a run directory with an adapt.json, VGG9 at base width 16")
    parser.add_argument("--data-root", required=True, help="where Omniglot is")
    parser.add_argument("--seeds", type=int, default=3, choices=range(2, 6), help="seeds of each network")
    parser.add_argument("--iterations", type=int, default=400)
    parser.add_argument("--workers", type=int, default=0)
    options = parser.parse_args(arguments)
    genes = json.loads((options.run / "adapt.json").read_text())["finalists"][0]["arch"]["genes"]
    test = EvaluateConfig(tasks=600, n_query=15)
    accuracies: list[list[float]] = [[], []]
    with executor(options.workers) as pool:
        for seed in range(options.seeds):
            setup = setup_of(WIDTH, options.data_root, seed)
            networks = [Architecture(space=setup.space.name, genes=tuple(genes)), setup.space.references()[REFERENCE]]
            setup.send(pool)
            found = pool.map(train_alone, [(arch, options.iterations, test) for arch in networks])
            for kept, (accuracy, _, _) in zip(accuracies, found, strict=True):
                kept.append(round(100 * accuracy, 2))
    rows: list[dict[str, Any]] = []
    for arch, kept in zip(networks, accuracies, strict=True):
        told = {"options": setup.space.options(arch), **sizes(setup, arch)}
        rows.append({**told, "accuracy": kept, "mean": statistics.fmean(kept)})
    print(json.dumps({"found": rows[0], "reference": rows[1], **difference(*accuracies)}, indent=1))


def difference(found: Sequence[float], reference: Sequence[float]) -> dict[str, float]:
    """Return the mean over seeds of what was found minus the reference, and half its 95 % interval."""
    gains = [a - b for a, b in zip(found, reference, strict=True)]
    half = t_95(len(gains)) * statistics.stdev(gains) / len(gains) ** 0.5
    return {"difference": round(statistics.fmean(gains), 2), "half_width": round(half, 2)}


if __name__ == "__main__":
    main()
