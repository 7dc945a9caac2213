"""A cell space, as third parties write them: its layers say what they read, and a run prices what it can."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from attrs import evolve
from cell_space import CellSpace, TanhSpace

import hnas
from hnas import DeviceError, PluginError
from hnas.testing import SpaceConformance
from hnas.toolkit.dataflow import dataflow
from hnas_app.costs.checked_layers import whole
from hnas_backends.eyeriss.closed_form import gemm, total_cycles
from hnas_backends.torch_layers import network

IMAGE, N_WAY = (1, 6, 6), 2
TINY: dict[str, Any] = {
    "task.n_way": N_WAY,
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


@pytest.mark.slow
class TestCellSpace(SpaceConformance):
    input_shape = IMAGE
    n_way = N_WAY
    samples = 3

    def make(self) -> CellSpace:
        return CellSpace()


def test_the_first_cell_reads_the_stem_twice() -> None:
    """By hand, for a cell of skips and one pooling: value 2 is the stem, 4 and 6 are the inputs of the first cell."""
    space = CellSpace()
    arch = space.architecture(left="skip", right="skip", before="pool", first="skip")
    first_cell = dataflow(space.layers(arch, IMAGE, N_WAY))[2:10]
    assert first_cell == [(2,), (3,), (2,), (5,), (4, 6), (6,), (8, 7), (7, 9)]


def test_without_places_the_layers_are_no_network() -> None:
    space = CellSpace()
    layers = [evolve(la, reads=()) for la in space.layers(space.smallest(), IMAGE, N_WAY)]
    with pytest.raises(DeviceError, match=r"concat-8x6x6.* does not say what else it reads") as caught:
        dataflow(layers)
    assert "Layer.reads" in caught.value.hint
    chain = [la for la in layers if la.op == "relu"][:1] + [la for la in layers if la.op == "add"][:1]
    with pytest.raises(PluginError, match=r"cell_space:CellSpace, in layers\(\): layer 2 of 2, add-.* adds nothing"):
        whole(space, chain)


def test_pytorch_runs_the_layers_as_the_super_net_does() -> None:
    """Weights are copied in the order of the layers: another connection would give other logits."""
    space, x = CellSpace(), torch.randn(3, *IMAGE, generator=torch.Generator().manual_seed(0))
    net = space.supernet(IMAGE, N_WAY)
    for arch in (space.references()["dilated"], space.architecture(left="pool", right="skip", first="dilated")):
        shared = net.share(net.init(torch.Generator().manual_seed(1)), arch)
        stats = hnas.NormStats(mode="collect")
        expected = net.forward(shared, x, arch, stats=stats)
        made = network(space.layers(arch, IMAGE, N_WAY))
        convolutions = [m for m in made.modules() if isinstance(m, torch.nn.Conv2d)]
        norms = [m for m in made.modules() if isinstance(m, torch.nn.BatchNorm2d)]
        order = list(stats.mean)  # as the pass meets them
        for norm, name in zip(norms, order, strict=True):
            norm.running_mean, norm.running_var = stats.mean[name], stats.var[name]
            norm.weight, norm.bias = (torch.nn.Parameter(shared[f"{name}.{part}"]) for part in ("weight", "bias"))
        weights = [w for name in order for w in _weights(shared, name.removeprefix("norm_"))]
        for convolution, weight in zip(convolutions, weights, strict=True):
            assert convolution.weight.shape == weight.shape
            convolution.weight = torch.nn.Parameter(weight)
        (linear,) = (m for m in made.modules() if isinstance(m, torch.nn.Linear))
        linear.weight, linear.bias = torch.nn.Parameter(shared["fc.weight"]), torch.nn.Parameter(shared["fc.bias"])
        torch.testing.assert_close(made(x), expected, rtol=1e-4, atol=1e-4)


def _weights(shared: dict[str, torch.Tensor], layer: str) -> list[torch.Tensor]:
    names = (f"{layer}.{part}" for part in ("weight", "depthwise", "pointwise"))
    return [shared[name] for name in names if name in shared]


def run(space: hnas.SearchSpace, tmp_path: Path, backend: str) -> hnas.Run:
    return hnas.run(
        space=space,
        backend=backend,
        preset="none",
        constraints="latency<=0.9ref",
        settings=TINY,
        run_dir=tmp_path / "run",
    )


@pytest.mark.parametrize("backend", ["eyeriss", "eyeriss-rs"])
def test_a_run_prices_its_cells(tmp_path: Path, backend: str) -> None:
    """Depth-wise and dilated convolutions cost something, and joining maps is free."""
    found = run(CellSpace(), tmp_path, backend).found
    layers = CellSpace().layers(found.arch, (1, 28, 28), N_WAY)
    assert {"concat", "add"} <= {la.op for la in layers}
    assert (found.cost["params"], found.cost["macs"]) == (
        sum(la.params for la in layers),
        sum(la.macs for la in layers),
    )
    if backend == "eyeriss":
        products = [gemm(la) for la in layers if la.op in ("conv2d", "linear")]
        assert found.cost["cycles"] == sum(total_cycles(p, dataflow="ws", rows=12, cols=14) for p in products)


def test_an_operation_that_nobody_prices_ends_a_run_before_it_trains(tmp_path: Path) -> None:
    with pytest.raises(
        DeviceError, match=r"eyeriss neither prices 'tanh' \(the layer tanh-4x28x28-.* declares it free"
    ):
        run(TanhSpace(), tmp_path, "eyeriss")
    assert not list((tmp_path / "run").glob("**/*.safetensors"))
