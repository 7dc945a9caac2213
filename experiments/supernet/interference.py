"""Which choice costs the reference network its accuracy: train super-nets in which one choice is narrowed.

    python experiments/supernet/interference.py narrow --data-root ~/data/omniglot [NAME ...]
    python experiments/supernet/interference.py tune runs/supernet

`narrow` trains a super-net on architectures of which one kind of choice has fewer options; what the reference network
gains is what sharing weights across the other options costs it. `tune` goes on with a trained super-net for the
reference network alone, with all but some of its parameters kept, to tell which of them sharing has spoilt.
Both print a JSON object a line; those of `narrow` are kept in ``interference.json``.
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

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))

from measuring import settle_environment

if __name__ == "__main__":
    settle_environment()

import attrs
import numpy as np
import torch
from ranking import N_QUERY, REFERENCE, setup_of

from hnas import Architecture, SearchSpace
from hnas.learner import State
from hnas_app.cli.invocation import Invocation
from hnas_app.cli.terminal import at_terminal
from hnas_app.config.schema import EvaluateConfig
from hnas_app.executors.in_process import InProcess
from hnas_app.training.evaluate import evaluate
from hnas_app.training.outer_loop import Sampler, TrainPlan, train
from hnas_app.training.setup.setup import Setup
from hnas_app.usecases.arguments import Given
from hnas_app.usecases.opening import continued
from hnas_plugins.meta_learners.maml import MAML
from hnas_plugins.meta_learners.options import MAMLPlusPlusOptions
from hnas_plugins.spaces.vgg9 import VGG9, VGG9Options

RESULTS = Path(__file__).with_name("interference.json")
ARCHITECTURES = 4
PLAN = TrainPlan(epochs=10, iterations=150, tasks=16, n_query=N_QUERY, validate_every=10)
TEST = EvaluateConfig(tasks=300, n_query=15)
LEARNER = {"meta_lr": 4e-3, "second_order": False, "multi_step_loss": False, "rate_scaling": "linear"}
SPACE = {"base_width": 16, "norms": "activation"}


@attrs.frozen(kw_only=True)
class Narrowing:
    """What a super-net is trained on: ``left`` are the options that remain of each kind of choice."""

    left: Mapping[str, tuple[object, ...]] = attrs.field(factory=dict)
    space: Mapping[str, object] = attrs.field(factory=dict)
    iterations: int = PLAN.iterations
    """In each epoch."""


NARROWED = {
    "nothing": Narrowing(),
    "activation": Narrowing(left={"activation": ("relu",)}),
    "depth": Narrowing(left={"depth": (4,)}),
    "scale": Narrowing(left={"scale": (1.0,)}),
    "kernel": Narrowing(left={"kernel": (3,)}),
    "kernel-a-third": Narrowing(left={"kernel": (3,)}, iterations=PLAN.iterations // 3),
    "kernel-3-or-5": Narrowing(left={"kernel": (3, 5)}),
    "kernel-1-or-3": Narrowing(left={"kernel": (1, 3)}),
    "transform": Narrowing(space={"kernels": "transform"}),
}
TUNED: dict[str, tuple[str, ...]] = {
    "nothing": (),
    "rates": ("lslr/",),
    "norms": ("params/norm",),
    "classifier": ("params/fc",),
    "convolutions": ("params/conv",),
    "everything": ("params/", "lslr/"),
}
"""Prefixes of the state's entries that go on being trained."""


class Tuner(MAML):
    """MAML++ that trains only the parameters whose names begin with one of some prefixes."""

    def __init__(self, options: MAMLPlusPlusOptions, prefixes: tuple[str, ...]) -> None:
        super().__init__(options)
        self._prefixes = prefixes

    def update(self, state: State, *rest: Any) -> None:
        kept = {k: v.clone() for k, v in state.items() if not k.startswith((*self._prefixes, "outer/", "stats/"))}
        super().update(state, *rest)
        state.update(kept)


def narrowed(space: SearchSpace, narrowing: Narrowing, setup: Setup) -> Sampler:
    """Return a uniform sampler of the architectures that a narrowing leaves."""

    def one(generator: np.random.Generator) -> Architecture:
        genes = []
        for choice in space.choices:
            kind = choice.name.rstrip("1234")
            allowed = narrowing.left.get(kind, choice.options)
            genes.append(choice.options.index(allowed[int(generator.integers(len(allowed)))]))  # type: ignore[arg-type]
        return space.canonical(Architecture(space.name, tuple(genes)))

    def sampler(progress: Any) -> list[Architecture]:
        generator = setup.seeds.numpy("narrowed", progress.iteration)
        return list(dict.fromkeys(one(generator) for _ in range(ARCHITECTURES)))

    return sampler


def narrow(options: argparse.Namespace) -> None:
    for name in options.names or NARROWED:
        narrowing = NARROWED[name]
        space = VGG9(VGG9Options(**SPACE, **narrowing.space))  # type: ignore[arg-type]
        learner = MAML(MAMLPlusPlusOptions(**LEARNER))  # type: ignore[arg-type]
        setup = attrs.evolve(setup_of(16, options.data_root, options.seed), space=space, learner=learner)
        plan = attrs.evolve(PLAN, iterations=narrowing.iterations)
        row = {"name": name, "seed": options.seed, **trained(setup, plan, narrowed(space, narrowing, setup), None)}
        rows = [r for r in known_rows() if (r["name"], r["seed"]) != (name, options.seed)] + [row]
        RESULTS.write_text("[\n" + ",\n".join(" " + json.dumps(r) for r in rows) + "\n]\n")
        print(json.dumps(row), flush=True)


def tune(options: argparse.Namespace) -> None:
    with at_terminal(Invocation(), "{}") as caller, continued(caller, "adapt", options.run, Given()) as phases:
        setup, state = phases.setup, phases.meta_train()
    reference = setup.space.references()[REFERENCE]
    plan = attrs.evolve(PLAN, epochs=1, iterations=options.iterations, validate_every=1)
    options_of = attrs.evolve(phases.config.learner.options, meta_lr=2e-3, first_order_epochs=0)
    for name, prefixes in TUNED.items():
        tuned = attrs.evolve(setup, learner=Tuner(options_of, prefixes))
        start = {k: torch.zeros_like(v) if k.startswith("outer/") else v.clone() for k, v in state.items()}
        found = trained(tuned, plan, lambda _: (reference,), start)
        row = {"run": options.run.name, "tuned": name, "iterations": options.iterations, **found}
        print(json.dumps(row), flush=True)


def trained(setup: Setup, plan: TrainPlan, sampler: Sampler, start: State | None) -> dict[str, float]:
    """Return the reference network's test accuracy after training, in percent, and the seconds that took."""
    began = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder, InProcess() as here:
        setup.send(here)
        state = train(
            setup, plan, sampler, here, phase="interference", folder=Path(folder), emit=lambda event: None,
            start=lambda: start or setup.learner.init(setup.supernet, setup.seeds.torch("interference-init")),
        )  # fmt: skip
        seconds = time.perf_counter() - began
        found = evaluate(setup, state, setup.space.references()[REFERENCE], TEST, here)
    half_width = found.half_width and round(100 * found.half_width, 2)
    percent = {"reference": round(100 * found.mean, 2), "half_width": half_width}
    return percent | {"seconds": round(seconds)}


def known_rows() -> list[dict[str, Any]]:
    return json.loads(RESULTS.read_text()) if RESULTS.is_file() else []


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Tell which choice costs the reference network its accuracy.")
    commands = parser.add_subparsers(dest="command", required=True)
    narrowing = commands.add_parser("narrow", help="train super-nets with a choice narrowed")
    narrowing.add_argument("names", nargs="*", help="rows; all by default")
    narrowing.add_argument("--data-root", required=True, help="where Omniglot is")
    narrowing.add_argument("--seed", type=int, default=0)
    tuning = commands.add_parser("tune", help="go on with a super-net for the reference network")
    tuning.add_argument("run", type=Path, help="a run directory, on Omniglot 5-way 1-shot")
    tuning.add_argument("--iterations", type=int, default=100)
    options = parser.parse_args(arguments)
    narrow(options) if options.command == "narrow" else tune(options)


if __name__ == "__main__":
    main()
