"""Dilated, depth-wise and joined layers: every runner computes them, alone and in networks that branch."""

from __future__ import annotations

import math
import shutil
from collections.abc import Iterator, Sequence

import attrs
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hnas import DeviceError, Layer
from hnas_backends.layerbench.lines import connections, network_spec
from hnas_backends.layerbench.oracle import expected, numbers, result, verify
from hnas_backends.layerbench.program import host_binary
from hnas_backends.layerbench.session import Session

QUICK = ("--samples", "1", "--min-us", "0", "--max-ms", "0", "--warm-ms", "0")
MAPS = (4, 9, 7)
FEW = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def conv(given: int, gives: int, kernel: int = 3, dilation: int = 1, **fields: object) -> Layer:
    """Return a convolution of maps of 9x7 that keeps their size."""
    shapes = {"in_shape": (given, 9, 7), "out_shape": (gives, 9, 7)}
    padding = dilation * (kernel // 2)
    return attrs.evolve(
        Layer(op="conv2d", **shapes, kernel=kernel, padding=padding, dilation=dilation), **fields
    )  # fmt: skip


def same(op: str, channels: int, *reads: int) -> Layer:
    return Layer(op=op, in_shape=(channels, 9, 7), out_shape=(channels, 9, 7), reads=reads)


ALONE = [
    *(conv(4, 6, 3, dilation, bias=True) for dilation in (2, 3)),
    Layer(op="conv2d", in_shape=MAPS, out_shape=(6, 4, 3), kernel=3, stride=2, padding=1, dilation=2),
    Layer(op="conv2d", in_shape=MAPS, out_shape=(6, 2, 1), kernel=3, stride=3, dilation=2, groups=2),
    *(conv(6, 6 * times, 5, dilation, groups=6, bias=True) for times in (1, 2) for dilation in (1, 2, 3)),
    Layer(op="conv2d", in_shape=(6, 9, 7), out_shape=(12, 5, 4), kernel=3, stride=2, padding=2, dilation=2, groups=6),
    *(
        Layer(op="max_pool", in_shape=MAPS, out_shape=(4, *out), kernel=3, stride=3, dilation=2)
        for out in ((2, 1), (3, 2))
    ),
    same("concat", 5, 1, 3),
]
"""Layers that were refused, or measured as others. The last one is of a network whose other layers are missing."""
CELL = [
    conv(3, 4, bias=True),
    same("norm", 4),
    conv(4, 4, 3, 2, groups=4, reads=(1,)),
    conv(4, 6, 1, reads=(2,)),
    same("concat", 10, 2, 1),
    attrs.evolve(same("avg_pool", 4, 4), kernel=3, padding=1),
    same("add", 4, 1, 4, 5),
    same("concat", 17, 1, 3, 8),
    Layer(op="avg_pool", in_shape=(17, 9, 7), out_shape=(17, 1, 1)),
    Layer(op="linear", in_shape=(17, 1, 1), out_shape=(5, 1, 1), bias=True),
]
"""A cell whose values are read twice, out of order and from the network's input."""


@st.composite
def networks(draw: st.DrawFn) -> list[Layer]:
    """Networks in which each layer reads any values before it, each layer is read, and maps are small."""
    widths, unread, layers = [draw(st.integers(1, 4))], {0}, list[Layer]()

    def add(layer: Layer, read: Sequence[int]) -> None:
        n = len(layers) + 1
        layers.append(attrs.evolve(layer, reads=tuple(n - value for value in read)))
        widths.append(layer.out_shape[0])
        unread.difference_update(read)
        unread.add(n)

    add(same("relu", widths[0]), [0])
    for _ in range(draw(st.integers(1, 7))):
        value = st.integers(0, len(widths) - 1)
        read, op = draw(value), draw(st.sampled_from(("conv2d", "conv2d", "add", "concat", "norm", "relu", "pool")))
        if op == "conv2d":
            width, depthwise = widths[read], draw(st.booleans())
            kernel, dilation = draw(st.sampled_from([(1, 1), (3, 1), (3, 2), (5, 2), (3, 3)]))
            gives, groups = (2 * width, width) if depthwise else (draw(st.integers(1, 6)), 1)
            add(conv(width, gives, kernel, dilation, groups=groups, bias=draw(st.booleans())), [read])
        elif op == "add":
            alike = [v for v, width in enumerate(widths) if width == widths[read]]
            reads = [read, *draw(st.lists(st.sampled_from(alike), min_size=1, max_size=3))]
            add(same("add", widths[read]), reads)
        elif op == "concat":
            reads = [read, *draw(st.lists(value, min_size=1, max_size=3))]
            add(same("concat", sum(widths[v] for v in reads)), reads)
        elif op == "pool":
            add(attrs.evolve(same("avg_pool", widths[read]), kernel=3, padding=1), [read])
        else:
            add(same(op, widths[read]), [read])
    if len(left := sorted(unread - {0})) > 1:
        add(same("concat", sum(widths[v] for v in left)), left)
    if draw(st.booleans()):
        add(Layer(op="linear", in_shape=(63 * widths[-1], 1, 1), out_shape=(3, 1, 1)), [len(layers)])
    return layers


@pytest.fixture(scope="module")
def session() -> Iterator[Session]:
    if not any(map(shutil.which, ("cc", "gcc", "clang"))):
        pytest.skip("no C compiler")
    with Session([str(host_binary()), *QUICK]) as running:
        yield running


def by_pytorch(layers: Sequence[Layer]) -> np.ndarray:
    """Return what PyTorch makes of layers as the backends run them, with the weights of the C program."""
    torch = pytest.importorskip("torch")
    from hnas_backends.torch_layers import module, network

    made = network(layers) if len(layers) > 1 else torch.nn.Sequential(module(layers[0]))
    for n, part in enumerate(getattr(made, "_parts", made)):
        for parameter, seed in zip(part.parameters(), (16 * n + 7, 16 * n + 8), strict=False):
            parameter.copy_(torch.from_numpy(numbers(parameter.numel(), seed)).reshape(parameter.shape))
    x = torch.from_numpy(numbers(math.prod(layers[0].in_shape), 1)).reshape(1, *layers[0].in_shape)
    return made.double()(x.double())[0].numpy()


def by_onnxruntime(layers: Sequence[Layer]) -> np.ndarray:
    pytest.importorskip("onnxruntime")
    from hnas_backends.x86.onnx_runtime import Call

    return Call(layers).result()[0]


def right(layers: Sequence[Layer]) -> np.ndarray:
    return result(layers, connections(layers))


def assert_same(seen: np.ndarray, layers: Sequence[Layer]) -> None:
    due = right(layers)
    np.testing.assert_allclose(seen.ravel(), due.ravel(), rtol=1e-4, atol=1e-4 * np.abs(due).max())


@pytest.mark.parametrize("layers", [*([layer] for layer in ALONE), CELL], ids=lambda layers: layers[-1].key)
def test_every_runner_computes_it(layers, session):
    """A dilation that is left out, or parts in another order: another layer would be timed under this one's name."""
    (row,) = session.run([network_spec(layers)])
    verify(row, layers)
    for run in (by_pytorch, by_onnxruntime):
        assert_same(run(layers), layers)


def test_the_cell_is_what_its_places_say():
    """Runners and oracle read the same places, so that they could agree on wrong ones: by hand."""
    import torch
    from torch.nn import functional as F

    def weight(layer: int, *shape: int, seed: int = 7) -> torch.Tensor:
        return torch.from_numpy(numbers(math.prod(shape), 16 * layer + seed)).reshape(shape)

    x = torch.from_numpy(numbers(3 * 63, 1)).reshape(1, 3, 9, 7)
    first = F.conv2d(x, weight(0, 4, 3, 3, 3), weight(0, 4, seed=8), padding=1)
    normed = weight(1, 1, 4, 1, 1) * first + weight(1, 1, 4, 1, 1, seed=8)
    dilated = F.conv2d(normed, weight(2, 4, 1, 3, 3), padding=2, dilation=2, groups=4)
    wide = F.conv2d(normed, weight(3, 6, 4, 1, 1))
    joined = torch.cat([dilated, wide], 1)
    pooled = F.avg_pool2d(normed, 3, 1, 1)
    added = pooled + dilated + normed
    out = torch.cat([added, joined, x], 1).mean((2, 3))
    out = F.linear(out, weight(9, 5, 17), weight(9, 5, seed=8))
    np.testing.assert_allclose(right(CELL).ravel(), out[0].numpy(), rtol=1e-9)


@FEW
@given(layers=networks())
def test_the_c_program_runs_any_network_that_branches(session, layers):
    """A buffer that is used again while it has still to be read."""
    (row,) = session.run([network_spec(layers)])
    verify(row, layers)


@FEW
@given(layers=networks())
def test_pytorch_and_onnxruntime_run_any_network_that_branches(layers):
    assert_same(by_pytorch(layers), layers)
    assert_same(by_onnxruntime(layers), layers)


def test_equal_layers_that_read_others_are_another_network():
    """`Layer.reads` is no part of equality, so a cache that is keyed by layers would hold the wrong sums."""
    other = [*CELL[:4], same("concat", 10, 1, 2), *CELL[5:]]
    assert tuple(other) == tuple(CELL)
    assert expected(tuple(other)) != expected(tuple(CELL))


@pytest.mark.parametrize(
    ("line", "said"),
    [
        *(
            (f"relu-1x4x4-1x4x4-k1s1p0g1b0{end}", "no layer key")
            for end in ("@0", "@-1", "@1,", "@,1", "@1@1", "@x", "dx")
        ),
        ("relu-1x4x4-1x4x4-k1s1p0g1b0d0", "a size is not from 1"),
        ("relu-1x4x4-1x4x4-k1s1p0g1b0d2", "only a convolution or a max_pool has a dilation"),
        ("relu-1x4x4-1x4x4-k1s1p0g1b0@1,1", "only an add or a concat reads several results"),
        ("relu-1x4x4-1x4x4-k1s1p0g1b0@2", "layer 1 of the network takes 1x4x4, which is not what it reads"),
        ("relu-1x4x4-1x4x4-k1s1p0g1b0 relu-1x4x4-1x4x4-k1s1p0g1b0@2", "layer 1 .*gives 1x4x4, which is never read"),
        ("relu-1x4x4-1x4x4-k1s1p0g1b0 concat-3x4x4-3x4x4-k1s1p0g1b0@1,2", "layer 2 .*takes 3x4x4, which is not what"),
    ],
)
def test_the_program_refuses_what_it_cannot_read_or_reach(line, said, session):
    """It would read memory that is not its own."""
    with pytest.raises(DeviceError, match=said):
        list(session.run([line]))
