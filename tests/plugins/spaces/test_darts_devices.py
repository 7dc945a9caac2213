"""Devices price the layers of DARTS cells, and run networks of them: every operation, alone and connected."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from attrs import evolve

import hnas
from hnas import DeviceError, DeviceInfo, Episodes, HardwareBackend, Layer, Measurement, Metric
from hnas_app.costs.profile import profile
from hnas_backends.eyeriss import EyerissOptions
from hnas_backends.eyeriss.closed_form import gemm, total_cycles
from hnas_backends.eyeriss.scalesim_engine import compute_model_cycles, simulate
from hnas_backends.layerbench.lines import network_spec
from hnas_backends.layerbench.oracle import verify
from hnas_backends.layerbench.program import host_binary
from hnas_backends.layerbench.session import Session
from hnas_plugins.spaces.darts import Darts, DartsOptions
from hnas_plugins.tasks.glyphs.source import Glyphs, GlyphsOptions

LATENCY = Metric(name="latency", unit="ms")
IMAGE, N_WAY = (1, 14, 9), 3
QUICK = ("--samples", "1", "--min-us", "0", "--max-ms", "0", "--warm-ms", "0")


def narrow(**options: Any) -> Darts:
    return Darts(DartsOptions(channels=4, cells=3, **options))


def weighted(space: Darts) -> list[Layer]:
    return [la for la in space.distinct_layers(IMAGE, N_WAY) if la.op in ("conv2d", "linear")]


@pytest.fixture(scope="module")
def session() -> Iterator[Session]:
    if not any(map(shutil.which, ("cc", "gcc", "clang"))):
        pytest.skip("no C compiler")
    with Session([str(host_binary()), *QUICK]) as running:
        yield running


def test_the_closed_form_is_scalesim_s_for_every_layer_of_a_cell():
    """Depth-wise and dilated rows: a group is a product of its own, and the array is filled for each."""
    options = EyerissOptions()
    layers = weighted(narrow())
    assert {(la.groups > 1, la.dilation, la.kernel) for la in layers} >= {(True, d, k) for d in (1, 2) for k in (3, 5)}
    for layer in layers:
        cycles = total_cycles(gemm(layer), dataflow="ws", rows=options.rows, cols=options.cols)
        assert cycles == compute_model_cycles(layer, options), layer.key


@pytest.mark.slow
def test_the_closed_form_is_the_whole_simulator_s():
    options = EyerissOptions()
    for layer in weighted(narrow()):
        cycles = total_cycles(gemm(layer), dataflow="ws", rows=options.rows, cols=options.cols)
        assert cycles == simulate(layer, options), layer.key


@pytest.mark.parametrize("stem", ["cifar", "imagenet"])
def test_the_c_program_computes_every_layer_and_whole_networks(session: Session, stem: str):
    """It is what `x86` and `arm` measure; its results are compared with numpy's, as in every profile."""
    space, generator = narrow(stem=stem), np.random.default_rng(0)
    image = (1, 32, 21) if stem == "imagenet" else IMAGE
    networks = [(layer,) for layer in space.distinct_layers(image, N_WAY)]
    networks += [tuple(space.layers(space.sample(generator), image, N_WAY)) for _ in range(3)]
    for row, network in zip(session.run([network_spec(n) for n in networks]), networks, strict=True):
        verify(row, network)


class Undilated(HardwareBackend):
    """A device whose runtime has no dilated convolutions."""

    def describe(self) -> DeviceInfo:
        return DeviceInfo(backend="undilated", device="a board", runtime="1", metrics=(LATENCY,))

    def measure(self, layers: Any) -> Iterator[dict[str, Measurement]]:
        for layer in layers:
            if layer.dilation > 1:
                raise DeviceError(f"a dilated convolution cannot run here: {layer.key}")
            yield {"latency": Measurement(median=1e-6 * layer.macs, unit="ms")}


class Chains(Undilated):
    """A device that joins no maps."""

    def describe(self) -> DeviceInfo:
        return DeviceInfo(
            backend="chains", device="a board", runtime="1", metrics=(LATENCY,),
            ops=frozenset(("conv2d", "linear", "norm", "relu", "add", "max_pool", "avg_pool")),
        )  # fmt: skip


@pytest.mark.parametrize(
    ("backend", "said"),
    [
        (Undilated(), r"a dilated convolution cannot run here: conv2d-.*d2"),
        (Chains(), r"chains neither prices 'concat' \(the layer concat-"),
    ],
)
def test_an_operation_that_a_device_cannot_run_is_named(backend: HardwareBackend, said: str):
    with pytest.raises(DeviceError, match=said):
        profile(backend, narrow(), IMAGE, N_WAY, store=None, emit=lambda event: None)


TINY: dict[str, Any] = {
    "space.cells": 3,
    "space.channels": 4,
    "task.n_way": 2,
    "learner.inner_steps": 1,
    "meta_train.epochs": 1,
    "meta_train.iterations": 1,
    "meta_train.tasks": 1,
    "meta_train.validate_tasks": 2,
    "search.tasks": 1,
    "search.pool": 2,
    "search.final_tasks": 2,
    "strategy.population": 3,
    "strategy.iterations": 2,
    "retrain.epochs": 1,
    "retrain.iterations": 1,
    "retrain.tasks": 1,
    "evaluate.tasks": 2,
    "evaluate.n_query": 2,
}


class LargeGlyphs(Glyphs):
    """Glyphs of three times the size: 84x84 pixels, as Mini-ImageNet's."""

    @property
    def image_shape(self) -> tuple[int, int, int]:
        return (1, 84, 84)

    def sample(self, *args: Any) -> Episodes:
        drawn = super().sample(*args)
        parts = {name: getattr(drawn, name) for name in ("support_x", "query_x")}
        return evolve(drawn, **{n: x.repeat_interleave(3, -1).repeat_interleave(3, -2) for n, x in parts.items()})


@pytest.mark.slow
@pytest.mark.parametrize("tasks", [Glyphs, LargeGlyphs])
def test_a_whole_run_finds_cells(tmp_path: Path, tasks: type[Glyphs]):
    """MAML++ trains the super-net and then the network that was found, whose costs are those of its layers."""
    source = tasks(GlyphsOptions())
    made = hnas.run(
        space="darts",
        tasks=source,
        backend="eyeriss",
        preset="none",
        constraints="latency<=0.9ref",
        settings=TINY,
        run_dir=tmp_path / "run",
    )
    space = Darts(DartsOptions(channels=4, cells=3))
    layers = space.layers(made.found.arch, source.image_shape, 2)
    assert made.found.cost["params"] == sum(la.params for la in layers)
    assert made.found.cost["macs"] == sum(la.macs for la in layers)
