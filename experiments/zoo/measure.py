"""Measure a trained super-net of the zoo: the numbers of its model card.

    python experiments/zoo/measure.py omniglot RUN          # RUN: trained with zoo/omniglot.toml
    python experiments/zoo/measure.py --table

A search under ``latency<=0.6ref`` on Eyeriss finds a network. It and the reference network are tested with the
super-net's weights, at several numbers of classes and of labelled images, beside the nearest class mean of raw pixels;
then both, and the scaled reference, after re-training. Each part is kept in ``experiments/zoo/NAME.json`` when it is
done, and not measured again. `benchmarks/ranking.py score RUN` judges the order of networks.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))

from measuring import settle_environment

if __name__ == "__main__":
    settle_environment()

import attrs

import hnas
from hnas.toolkit.files import write_json
from hnas_app.runs.pipeline import Pipeline
from hnas_app.search.compared import reference_of
from hnas_app.training.accuracy import Accuracy
from hnas_app.training.evaluate import baseline_accuracies, evaluate
from hnas_app.training.setup.fewer_classes import with_classes

FOLDER = Path(__file__).parent
LIMIT = "latency<=0.6ref"
TASKS = ((5, 1), (5, 5), (2, 1), (10, 1), (20, 1))
"""Classes and labelled images of each."""


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Measure a trained super-net of the zoo.")
    parser.add_argument("name", nargs="?")
    parser.add_argument("run", nargs="?", type=Path, help="a run whose meta-training is done")
    parser.add_argument("--workers", type=int, default=0)
    parser.add_argument("--test-tasks", type=int, default=600)
    parser.add_argument("--table", action="store_true", help="only print what is there")
    options = parser.parse_args(arguments)
    if options.name:
        measure(options.name, options.run, options.workers, options.test_tasks)
    if options.table:
        print("\n".join(table()))


def measure(name: str, run: Path, workers: int, n_tasks: int) -> None:
    """Write what is not there yet."""
    kept = FOLDER / f"{name}.json"
    found: dict[str, Any] = json.loads(kept.read_text()) if kept.is_file() else {"zero-retrain": []}
    settings = {"workers": workers, "evaluate.tasks": n_tasks}
    if "run" not in found:
        found["run"] = str(hnas.load_run(run).branch(constraints=LIMIT, settings=settings).path)
        write_json(kept, found)
    searched = hnas.load_run(found["run"])
    with searched.session() as phases:
        for n_way, k_shot in TASKS:
            row = {"n_way": n_way, "k_shot": k_shot}
            if not any(row.items() <= known.items() for known in found["zero-retrain"]):
                found["zero-retrain"].append(row | zero_retrain(phases, n_way, k_shot))
                write_json(kept, found)
        if "re-trained" not in found:
            networks = phases.evaluate().networks
            found["re-trained"] = {
                n.name: {**_told(n.retrained), "options": dict(n.options), "cost": dict(n.cost.values)}
                for n in networks
            }
            write_json(kept, found)


def zero_retrain(phases: Pipeline, n_way: int, k_shot: int) -> dict[str, Any]:
    """Return accuracies of the network that was found, the reference network and the nearest class mean."""
    own = reference_of(phases.setup, phases.config)
    assert own is not None
    networks = {"found": phases.adapt().chosen.arch, "reference": own[1]}
    setup, state = with_classes(phases.setup, phases.meta_train(), n_way)
    setup = attrs.evolve(setup, k_shot=k_shot)
    tested = {
        name: _told(evaluate(setup, state, arch, phases.config.evaluate, phases.executor))
        for name, arch in networks.items()
    }
    baseline, _ = baseline_accuracies(setup, phases.config.evaluate)
    return {**tested, "class_mean": _told(Accuracy.over(baseline))}


def _told(accuracy: Accuracy | None) -> dict[str, float]:
    if accuracy is None:
        return {}
    return {"accuracy": round(100 * accuracy.mean, 2), "half_width": round(100 * (accuracy.half_width or 0.0), 2)}


def table() -> Iterator[str]:
    """Yield what is there as Markdown."""
    yield "| super-net | tasks | found, % | reference, % | nearest class mean, % |"
    yield "|---|---|---|---|---|"
    for path in sorted(FOLDER.glob("*.json")):
        kept = json.loads(path.read_text())
        for row in kept["zero-retrain"]:
            cells = (_cell(row[name]) for name in ("found", "reference", "class_mean"))
            yield f"| {path.stem} | {row['n_way']}-way {row['k_shot']}-shot | {' | '.join(cells)} |"
        networks = dict(kept.get("re-trained", {}))
        if networks:
            found, scaled = (_cell(networks.pop(name, {})) for name in ("found", "scaled"))
            reference = _cell(next(iter(networks.values()), {}))
            yield f"| {path.stem} | 5-way 1-shot, re-trained (scaled reference {scaled}) | {found} | {reference} | |"


def _cell(told: dict[str, float]) -> str:
    return f"{told['accuracy']:.1f} ± {told['half_width']:.1f}" if told else "–"


if __name__ == "__main__":
    main()
