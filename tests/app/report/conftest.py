"""Run directories as a run leaves them, made in milliseconds: a real space, made-up costs and accuracies."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from attrs import evolve

from hnas import Architecture, Cost, DeviceInfo, Event, Inference, Measurement, Metric, Registry, Scored
from hnas.cost import CostTable
from hnas.strategy import Ask
from hnas.toolkit.codec import save
from hnas_app.config.load import load_config
from hnas_app.runs.results import ACCURACIES, NetworkAccuracies, NetworkResult, Results, TaskAccuracies, protocol
from hnas_app.runs.run_dir import PHASES, RunDir
from hnas_app.search.adapt import Adaption
from hnas_app.search.trace import SearchTrace
from hnas_app.trackers.metrics import MetricsListener
from hnas_app.training.accuracy import Accuracy
from hnas_app.training.setup.inference import of_prediction

SHAPE = (1, 28, 28)
LATENCY = Metric(name="latency", unit="ms", help="made up")
MakeRun = Callable[..., Path]


@pytest.fixture(scope="session")
def registry() -> Registry:
    return Registry(third_party=False)


@pytest.fixture(scope="session")
def make_run(registry: Registry) -> MakeRun:
    """Return a function that makes a finished run in a folder: `sets` are settings, `better` shifts its accuracies."""
    table: list[CostTable] = []

    def make(folder: Path, *, tasks: str = "same", better: float = 0.0, until: str = "evaluate", **sets: Any) -> Path:
        given = {"meta_train.sampling": "shrinking", "meta_train.epochs": 40, "evaluate.tasks": 30, **sets}
        arguments = {"constraints": ("latency<=0.6ref",), **{k.replace("__", "."): v for k, v in given.items()}}
        config = load_config(registry, env={}, preset="none", arguments=arguments).config
        space = registry.create("space", config.space.name, config.space.options)
        if not table:
            info = DeviceInfo(backend="eyeriss", device="made up", runtime="1", metrics=(LATENCY,))
            rows = {
                layer.key: {"latency": Measurement(median=1e-6 * (layer.macs + 1), unit="ms")}
                for layer in space.distinct_layers(SHAPE, 5)
            }
            table.append(CostTable(info=info, rows=rows))
        run = RunDir.create(config, path=folder)
        done = PHASES[: PHASES.index(until) + 1]
        for phase in done:
            with run.running(phase):
                pass
        log = MetricsListener(run.metrics)
        for step in range(1, 41):
            values = {"epoch": step, "loss": 1.0 / step, "accuracy": 0.2 + 0.01 * step}
            log(Event(phase="meta-train", kind="step", done=step, total=40, values=values))
            log(Event(phase="retrain", kind="step", done=step, total=40, values=values))
        checked = {"epoch": 40, "validation_loss": 1.0, "validation_accuracy": 0.55}
        log(Event(phase="retrain", kind="step", done=40, total=40, values=checked))
        save(folder / "profile.json", table[0])
        generator = np.random.default_rng(0)
        archs = list(dict.fromkeys(space.sample(generator) for _ in range(12)))

        learner = registry.create("learner", config.learner.name, config.learner.options)

        def inference(arch: Architecture) -> Inference:
            return learner.inference(list(space.layers(arch, SHAPE, 5)), 5, 1)

        def cost(arch: Architecture) -> Cost:
            return of_prediction(table[0].cost(space.layers(arch, SHAPE, 5)), table[0].metrics, inference(arch))

        scored = [
            Scored(arch=a, loss=1.0 + 0.1 * i, accuracy=0.6 - 0.02 * i, cost=cost(a)) for i, a in enumerate(archs)
        ]
        trace = SearchTrace(folder / "search.jsonl")
        for i in range(3):
            trace.append(
                i, Ask(architectures=tuple(archs)), [evolve(s, accuracy=s.accuracy + 0.01 * i) for s in scored]
            )
        if "adapt" in done:
            save(folder / "adapt.json", Adaption(population=tuple(scored), finalists=tuple(scored[:3])))
        if until == "evaluate":
            accuracies = {
                name: NetworkAccuracies(
                    zero_retrain=tuple((0.4 + generator.normal(0, 0.05, 30)).tolist()),
                    retrained=tuple((0.6 + shift + generator.normal(0, 0.05, 30)).tolist()),
                )
                for name, shift in (("found", better + 0.1), ("scaled", 0.0))
            }
            baseline = tuple((0.3 + generator.normal(0, 0.02, 30)).tolist())
            save(folder / ACCURACIES, TaskAccuracies(tasks=tasks, networks=accuracies, baseline=baseline))
            networks = [
                NetworkResult(
                    name=name,
                    arch=arch,
                    options=space.options(arch),
                    cost=cost(arch),
                    zero_retrain=Accuracy.over(accuracies[name].zero_retrain),
                    retrained=Accuracy.over(accuracies[name].retrained),
                    inference=inference(arch),
                )
                for name, arch in (("found", archs[0]), ("scaled", archs[1]))
            ]
            results = Results(
                networks=tuple(networks),
                baseline=Accuracy.over(baseline),
                metrics=table[0].metrics,
                limits=("latency<=0.6ref",),
                protocol=protocol(config),
            )
            save(folder / "evaluate.json", results)
        return folder

    return make
