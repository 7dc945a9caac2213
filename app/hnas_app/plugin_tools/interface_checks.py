"""Cheap checks of an implementation, by kind. Each check yields its findings."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import Any, Literal

from hnas.backend import HardwareBackend
from hnas.cost import DeviceInfo, LayerCosts, check_costs, priced
from hnas.cost.units import UNITS
from hnas.discovery.descriptors import Kind
from hnas.errors import DeviceError
from hnas.layer import Layer
from hnas.space import SearchSpace
from hnas.strategy import SearchStrategy
from hnas.task_source import SPLITS, TaskSource
from hnas_app.costs.description import described
from hnas_app.costs.faults import faults_of
from hnas_app.search.sizes import true_size

Seen = Iterator[tuple[Literal["ok", "warning", "failed"], str]]
IMAGE = (3, 32, 32)
N_WAY = 5
SAMPLES = 8
LAYERS = (
    Layer(op="conv2d", in_shape=(3, 16, 16), out_shape=(8, 16, 16), kernel=3, padding=1, bias=True),
    Layer(op="linear", in_shape=(8, 1, 1), out_shape=(5, 1, 1), bias=True),
)


def check_space(space: SearchSpace) -> Seen:
    """Draw a few architectures, and look at their layers."""
    import numpy as np

    names = [c.name for c in space.choices]
    if not names or len(set(names)) < len(names):
        yield "failed", f"choices need names of their own, got {names}"
        return
    if unknown := sorted({c.needs[0] for c in space.choices if c.needs} - set(names)):
        yield "failed", f"choices need {', '.join(unknown)}, which is no choice"
        return
    generator = np.random.default_rng(0)
    archs = [space.smallest(), space.largest(), *(space.sample(generator) for _ in range(SAMPLES))]
    for arch in archs:
        layers = space.layers(arch, IMAGE, N_WAY)
        if not layers or any(not isinstance(layer, Layer) for layer in layers):
            yield "failed", f"layers of {space.options(arch)} are {layers!r}, expected hnas.Layer"
            return
        first, last = layers[0].in_shape, layers[-1].out_shape
        if first != IMAGE or math.prod(last) != N_WAY:
            yield (
                "failed",
                f"layers of {space.options(arch)} lead from {first} to {last}, not {IMAGE} to {N_WAY} logits",
            )
            return
    yield "ok", f"{true_size(space):,} architectures of {len(names)} choices; {len(archs)} drawn"


def check_backend(backend: HardwareBackend) -> Seen:
    """Check the device's description; if it is a model, let it price two layers."""
    try:
        info = described(backend)
        if unknown := [m.column for m in info.metrics if m.unit not in UNITS]:
            yield "warning", f"no limit can be set on {', '.join(unknown)}: units are {', '.join(filter(None, UNITS))}"
        yield "ok", f"{info.device}: {', '.join(m.column for m in info.metrics)}"
        if info.rounds is not None:
            return
        layers = [layer for layer in LAYERS if priced(info, layer)]
        wrong, rows = 0, _priced(info, backend, layers)
        if len(rows) != len(layers):
            wrong += 1
            yield "failed", f"measure() yielded {len(rows)} costs for {len(layers)} layers"
        for layer, row in zip(layers, rows, strict=False):
            for told in _mistakes(info, layer, row):
                wrong += 1
                yield "failed", told
        if not wrong:
            yield "ok", f"prices {len(rows)} layers"
    finally:
        backend.close()


def _priced(info: DeviceInfo, backend: HardwareBackend, layers: Sequence[Layer]) -> list[LayerCosts]:
    """Return all that `measure` yields. Raises a `PluginError` that names the layer at which it fails."""
    answers = iter(backend.measure(layers))
    rows: list[LayerCosts] = []
    for layer in layers:
        with faults_of(f"measure() failed at the layer {layer.key}"):
            rows += islice(answers, 1)
    return [*rows, *answers]


def _mistakes(info: DeviceInfo, layer: Layer, row: LayerCosts) -> Iterator[str]:
    """Yield the mistakes in a layer's costs."""
    try:
        check_costs(info, layer.key, row)
    except DeviceError as cause:
        yield str(cause) + (f" ({cause.hint})" if cause.hint else "")
        return
    if more := sorted(set(row) - {m.name for m in info.metrics}):
        yield f"measure() gives {more} of {layer.key}, which describe() does not declare"


def check_tasks(source: TaskSource) -> Seen:
    """Check the image shape and the number of classes in each split; yield the source's own report."""
    shape = source.image_shape
    if len(shape) != 3 or any(not isinstance(n, int) or n < 1 for n in shape):
        yield "failed", f"image_shape is {shape!r}, expected channels, height and width"
        return
    counts = {split: source.n_classes(split) for split in SPLITS}
    if any(n < 2 for n in counts.values()):
        yield "failed", f"every split needs two classes or more, got {counts}"
        return
    yield "ok", source.check()


def check_strategy(strategy: SearchStrategy) -> Seen:
    """Check its number of iterations: without a space it can do nothing else."""
    if not isinstance(strategy.iterations, int) or strategy.iterations < 1:
        yield "failed", f"iterations is {strategy.iterations!r}, expected at least 1"
    else:
        yield "ok", f"{strategy.iterations} iterations"


CHECKS: dict[Kind, Callable[[Any], Seen]] = {
    "space": check_space,
    "backend": check_backend,
    "strategy": check_strategy,
    "tasks": check_tasks,
}
"""None for learners, which can do nothing without a super-net."""
