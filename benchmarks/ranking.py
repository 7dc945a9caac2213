"""Measure whether a super-net ranks networks as training them alone does.

    python benchmarks/ranking.py alone --data-root ~/data/omniglot        # hours for many; goes on where it stopped
    python benchmarks/ranking.py score runs/supernet                      # minutes, for any super-net of that space

`alone` trains random architectures (and the reference network) from fresh weights with one budget, and keeps their test
accuracies as JSON. `score` gives the same networks a super-net's weights, on the same test tasks, and reports

- ``tau``: Kendall's rank correlation between the two accuracies, and within the networks of full depth;
- ``top_quarter``: the share of the best quarter alone that is in the best quarter of the super-net;
- ``gap``: the mean difference between the two, in points, and that of the reference network;
- ``disagreement``: how often two scores over 16 tasks each put a pair of networks in another order;
- ``tau_params`` and ``tau_macs``: what the order by size alone gives;
- ``ceiling``: tau between two seeds of training alone, where both were run;
- ``over_seeds``: some of these against each network's mean over all seeds, which is nearer to how good it is.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from measuring import settle_environment

if __name__ == "__main__":
    settle_environment()

import attrs
import numpy as np

from hnas import Architecture, Seeds
from hnas_app.cli.invocation import Invocation
from hnas_app.cli.terminal import at_terminal
from hnas_app.config.schema import EvaluateConfig
from hnas_app.costs.agreement import kendall_tau
from hnas_app.executors.choice import executor
from hnas_app.executors.in_process import InProcess
from hnas_app.training.evaluate import evaluate
from hnas_app.training.outer_loop import TrainPlan, train
from hnas_app.training.setup.setup import Setup
from hnas_app.usecases.arguments import Given
from hnas_app.usecases.opening import continued
from hnas_plugins.meta_learners.maml import MAML
from hnas_plugins.meta_learners.options import MAMLPlusPlusOptions
from hnas_plugins.spaces.vgg9 import VGG9, VGG9Options
from hnas_plugins.tasks.omniglot.source import Omniglot, OmniglotOptions

RESULTS = Path(__file__).parents[1] / "experiments" / "supernet"
REFERENCE = "maml++-omniglot"
N_WAY, K_SHOT, N_QUERY = 5, 1, 5
EPOCHS = 10
NOISE_TASKS = 16
"""Tasks that a candidate is scored on in an iteration of a search."""


def test_of(options: argparse.Namespace) -> EvaluateConfig:
    return EvaluateConfig(tasks=options.test_tasks, n_query=15)


def setup_of(width: int, root: str, seed: int) -> Setup:
    """Return Omniglot 5-way 1-shot on the VGG9 space of a base width, learnt as the quick preset re-trains."""
    options = MAMLPlusPlusOptions(meta_lr=4e-3, first_order_epochs=EPOCHS // 2, multi_step_loss=False)
    return Setup(
        space=VGG9(VGG9Options(base_width=width)),
        learner=MAML(options),
        tasks=Omniglot(OmniglotOptions(root=root)),
        n_way=N_WAY,
        k_shot=K_SHOT,
        seeds=Seeds(seed),
    )


def architectures(setup: Setup, count: int) -> list[Architecture]:
    """Return the reference network and the first random architectures of a fixed stream."""
    generator = np.random.default_rng(0)
    drawn = dict.fromkeys([setup.space.references()[REFERENCE]])
    while len(drawn) <= count:
        drawn.setdefault(setup.space.sample(generator))
    return list(drawn)


def alone(options: argparse.Namespace) -> None:
    """Train what is not in the results yet; each network is written as soon as it is done."""
    setup = setup_of(options.width, options.data_root, options.seed)
    path = options.results / f"alone_w{options.width}.json"
    content = json.loads(path.read_text()) if path.is_file() else {"recipe": _recipe(options), "networks": []}
    if content["recipe"] != _recipe(options):
        raise SystemExit(f"{path} holds networks of another recipe: {content['recipe']}, expected {_recipe(options)}")
    done = {(tuple(n["genes"]), n["seed"]) for n in content["networks"]}
    items = [(a, options.iterations, test_of(options)) for a in architectures(setup, options.architectures)]
    items = [i for i in items if (i[0].genes, options.seed) not in done]
    path.parent.mkdir(parents=True, exist_ok=True)
    with executor(options.workers) as pool:
        setup.send(pool)
        for index, (mean, half_width, seconds) in pool.map_unordered(train_alone, items):
            arch = items[index][0]
            row = {"genes": arch.genes, "seed": options.seed, "accuracy": round(mean, 4)}
            row |= {"half_width": half_width and round(half_width, 4), "seconds": round(seconds, 1)}
            row |= sizes(setup, arch) | {"options": setup.space.options(arch)}
            content["networks"].append(row)
            path.write_text(json.dumps(content, indent=1) + "\n")
            print(f"{len(content['networks'])}: {mean:.4f} in {seconds:.0f} s, {row['options']}", flush=True)


def sizes(setup: Setup, arch: Architecture) -> dict[str, int]:
    """Return the parameters and multiply-accumulates of a network."""
    layers = list(setup.space.layers(arch, setup.image_shape, N_WAY))
    return {"params": sum(x.params for x in layers), "macs": sum(x.macs for x in layers)}


def _recipe(options: argparse.Namespace) -> dict[str, Any]:
    task = f"omniglot (vinyals), {N_WAY}-way {K_SHOT}-shot"
    return {"task": task, "width": options.width, "iterations": options.iterations, "tasks": 16, "n_query": N_QUERY}


def train_alone(values: Mapping[str, Any], item: Any) -> tuple[float, float | None, float]:
    """Run in a worker: test accuracy of one architecture after training it alone, and the seconds that took."""
    arch, iterations, test = item
    setup = attrs.evolve(values["setup"], alone=arch)
    plan = TrainPlan(epochs=EPOCHS, iterations=iterations // EPOCHS, tasks=16, n_query=N_QUERY)
    started = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder, InProcess() as here:
        state = train(
            setup, plan, lambda _: (arch,), here, phase="alone", folder=Path(folder), emit=lambda event: None,
            start=lambda: setup.learner.init(setup.supernet, setup.seeds.torch("alone-init")),
        )  # fmt: skip
        accuracy = evaluate(setup, state, arch, test, here)
    return accuracy.mean, accuracy.half_width, time.perf_counter() - started


def score(options: argparse.Namespace) -> None:
    """Compare a super-net's accuracies with those of the networks trained alone, and print the comparison."""
    with at_terminal(Invocation(), "{}") as caller, continued(caller, "adapt", options.run, Given()) as phases:
        setup, state, pool = phases.setup, phases.meta_train(), phases.executor
        width = setup.space.settings.base_width  # type: ignore[attr-defined]
        content = json.loads((options.results / f"alone_w{width}.json").read_text())
        seeds = sorted({n["seed"] for n in content["networks"]})
        first = [n for n in content["networks"] if n["seed"] == seeds[0]]
        shared, halves = [], []
        for network in first:
            arch = Architecture(space=setup.space.name, genes=tuple(network["genes"]))
            shared.append(evaluate(setup, state, arch, test_of(options), pool).mean)
            episodes = setup.episodes("validation", "ranking", range(2 * NOISE_TASKS), N_QUERY)
            losses = setup.learner.score(setup.supernet, state, episodes, arch).loss.numpy()
            halves.append((losses[:NOISE_TASKS].mean(), losses[NOISE_TASKS:].mean()))
        found = compare(first, shared, setup.space.references()[REFERENCE].genes)
        a, b = (np.array(h) for h in zip(*halves, strict=True))
        found["disagreement"] = round((1 - kendall_tau(a, b)) / 2, 3)
        if len(seeds) > 1:
            second = {tuple(n["genes"]): n["accuracy"] for n in content["networks"] if n["seed"] == seeds[1]}
            both = [(n["accuracy"], second[tuple(n["genes"])]) for n in first if tuple(n["genes"]) in second]
            found["ceiling"] = round(kendall_tau(*(np.array(c) for c in zip(*both, strict=True))), 3)
            means = compare(over_seeds(content["networks"]), shared, setup.space.references()[REFERENCE].genes)
            found["over_seeds"] = {k: means[k] for k in ("tau", "gap", "gap_reference")}
        print(json.dumps({"run": options.run.name, **found}, indent=1))


def over_seeds(networks: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return each network of the first seed, in that order, with its mean accuracy over all its seeds."""
    accuracies: dict[tuple[int, ...], list[float]] = {}
    for n in networks:
        accuracies.setdefault(tuple(n["genes"]), []).append(n["accuracy"])
    first = min(n["seed"] for n in networks)
    return [{**n, "accuracy": statistics.fmean(accuracies[tuple(n["genes"])])} for n in networks if n["seed"] == first]


def compare(networks: Sequence[Mapping[str, Any]], shared: Sequence[float], reference: Sequence[int]) -> dict[str, Any]:
    """Return the measures that need the accuracies only. ``shared`` are the super-net's, in the networks' order."""
    own, given = np.array([n["accuracy"] for n in networks]), np.array(shared)
    depths = np.array([n["options"]["depth"] for n in networks])
    deep, quarter = depths == depths.max(), max(1, len(own) // 4)
    is_reference = np.array([tuple(n["genes"]) == tuple(reference) for n in networks])
    hit = set(np.argsort(-own)[:quarter]) & set(np.argsort(-given)[:quarter])
    return {
        "networks": len(own),
        "tau": round(kendall_tau(own, given), 3),
        "tau_full_depth": round(kendall_tau(own[deep], given[deep]), 3),
        "top_quarter": round(len(hit) / quarter, 3),
        "gap": round(100 * float((own - given)[~is_reference].mean()), 2),
        "gap_reference": round(100 * float((own - given)[is_reference].mean()), 2) if is_reference.any() else None,
        "mean_alone": round(100 * float(own[~is_reference].mean()), 2),
        "mean_shared": round(100 * float(given[~is_reference].mean()), 2),
        "tau_params": round(kendall_tau(own, np.array([n["params"] for n in networks])), 3),
        "tau_macs": round(kendall_tau(own, np.array([n["macs"] for n in networks])), 3),
    }


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Measure a super-net's ranking of networks.")
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder of the JSON files")
    parser.add_argument("--test-tasks", type=int, default=600, help="test tasks for each network")
    commands = parser.add_subparsers(dest="command", required=True)
    trained = commands.add_parser("alone", help="train random architectures alone")
    trained.add_argument("--data-root", default="", help="where Omniglot is")
    trained.add_argument("--width", type=int, default=16, help="base width of the space")
    trained.add_argument("--architectures", type=int, default=48)
    trained.add_argument("--iterations", type=int, default=400)
    trained.add_argument("--seed", type=int, default=0)
    trained.add_argument("--workers", type=int, default=0)
    scored = commands.add_parser("score", help="compare a run's super-net with them")
    scored.add_argument("run", type=Path, help="a run directory, on Omniglot 5-way 1-shot")
    options = parser.parse_args(arguments)
    command = alone if options.command == "alone" else score
    command(options)


if __name__ == "__main__":
    main()
