"""The onnxruntime runtime: its graphs compute the layers, and what is free is really taken along."""

from __future__ import annotations

import math
import os
from pathlib import Path

import numpy as np
import pytest

try:
    import onnx
    import onnxruntime
except ImportError as cause:
    if os.environ.get("HNAS_REQUIRE_TOOLS") == "1":
        raise
    pytest.skip(f"hnas[onnx] is not installed: {cause}", allow_module_level=True)

from hnas import Layer
from hnas_backends.layerbench.lines import OPS
from hnas_backends.layerbench.oracle import _apply, numbers
from hnas_backends.x86.onnx_runtime import FREE, Call, with_fused

MAPS = (6, 9, 7)
CONV = Layer(
    op="conv2d", in_shape=(4, 17, 13), out_shape=MAPS, kernel=3, stride=2, padding=1, groups=2, bias=True
)  # fmt: skip
LAYERS = {
    "conv2d": CONV,
    "linear": Layer(op="linear", in_shape=(30, 1, 1), out_shape=(4, 1, 1), bias=True),
    "max_pool": Layer(op="max_pool", in_shape=MAPS, out_shape=(6, 5, 4), kernel=2, stride=2),
    "avg_pool": Layer(op="avg_pool", in_shape=MAPS, out_shape=(6, 5, 5)),
    **{
        op: Layer(op=op, in_shape=MAPS, out_shape=MAPS)
        for op in OPS
        if op not in ("conv2d", "linear", "max_pool", "avg_pool")
    },
}


def oracle(layers: list[Layer]) -> np.ndarray:
    x = numbers(math.prod(layers[0].in_shape), 1)
    for n, layer in enumerate(layers):
        x = _apply(layer, x.reshape(layer.in_shape), 16 * n)
    return x


@pytest.mark.parametrize("op", OPS)
def test_the_graph_of_every_operation_computes_the_layer(op):
    """A graph of something else would be timed all the same."""
    result = Call([LAYERS[op]]).result()
    np.testing.assert_allclose(result.ravel(), oracle([LAYERS[op]]).ravel(), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("size", "out"), [((8, 6), (1, 1)), ((8, 6), (4, 3)), ((2, 3), (5, 5)), ((7, 9), (3, 2))])
def test_adaptive_pooling_to_any_size(size, out):
    """ONNX has no adaptive pooling: three ways to write it, each for other sizes."""
    layer = Layer(op="avg_pool", in_shape=(3, *size), out_shape=(3, *out))
    np.testing.assert_allclose(Call([layer]).result().ravel(), oracle([layer]).ravel(), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("stride", [1, 2])
def test_average_pooling_of_windows(stride):
    out = (5, 5) if stride == 1 else (3, 3)
    layer = Layer(op="avg_pool", in_shape=(3, 5, 5), out_shape=(3, *out), kernel=3, stride=stride, padding=1)
    np.testing.assert_allclose(Call([layer]).result().ravel(), oracle([layer]).ravel(), rtol=1e-4, atol=1e-6)


def test_the_graph_of_a_network_computes_the_network():
    layers = [
        CONV, LAYERS["norm"], LAYERS["relu6"], LAYERS["max_pool"],
        Layer(op="avg_pool", in_shape=(6, 5, 4), out_shape=(6, 2, 2)),
        Layer(op="linear", in_shape=(24, 1, 1), out_shape=(5, 1, 1)),
    ]  # fmt: skip
    np.testing.assert_allclose(Call(layers).result().ravel(), oracle(layers).ravel(), rtol=1e-4, atol=1e-4)


def test_the_graph_of_a_residual_block_adds_its_shortcut():
    taken, maps = (2, 9, 8), (3, 5, 4)
    layers = [
        Layer(op="conv2d", in_shape=taken, out_shape=maps, kernel=3, stride=2, padding=1),
        Layer(op="elu", in_shape=maps, out_shape=maps),
        Layer(op="conv2d", in_shape=taken, out_shape=maps, stride=2),
        Layer(op="add", in_shape=maps, out_shape=maps),
        Layer(op="sigmoid", in_shape=maps, out_shape=maps),
    ]
    x = numbers(math.prod(taken), 1).reshape(taken)
    main = _apply(layers[1], _apply(layers[0], x, 0), 16)
    expected = _apply(layers[4], main + _apply(layers[2], x, 32), 64)
    np.testing.assert_allclose(Call(layers).result()[0], expected, rtol=1e-4, atol=1e-5)


def optimised(layers: list[Layer], folder: Path) -> list[str]:
    """Return the nodes that onnxruntime runs for layers."""
    from hnas_backends.x86.onnx_graph import graph

    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
    options.optimized_model_filepath = str(folder / "optimised.onnx")
    onnxruntime.InferenceSession(graph(layers), options, providers=["CPUExecutionProvider"])
    return [n.op_type for n in onnx.load(folder / "optimised.onnx").graph.node]


@pytest.mark.parametrize("activation", sorted(FREE - {"norm"}))
def test_what_is_free_is_taken_along_by_the_convolution(activation, tmp_path):
    """The claim behind the rows that are left out: onnxruntime's own optimised graph has one node for all of it."""
    assert optimised([CONV, LAYERS["norm"], LAYERS[activation]], tmp_path) == ["FusedConv"]


def test_a_concatenation_alone_is_not_optimised_away(tmp_path):
    """It reads one map, which onnxruntime could give back as it is: its row would be that of nothing."""
    assert optimised([LAYERS["concat"]], tmp_path) == ["Concat"]


def test_a_convolution_is_measured_with_what_it_takes_along():
    assert [layer.op for layer in with_fused(CONV)] == ["conv2d", "norm", "relu"]
    assert with_fused(LAYERS["elu"]) == [LAYERS["elu"]]
