"""The C program computes what its keys say: against numpy for random shapes, against PyTorch for what they mean."""

from __future__ import annotations

import math
import os
import re
import shutil
import subprocess
from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hnas import DeviceError, Layer, PluginError
from hnas.toolkit import activations
from hnas_backends.layerbench.lines import OPS, network_spec, spec
from hnas_backends.layerbench.oracle import _apply, expected, numbers, verify
from hnas_backends.layerbench.program import SOURCES, host_binary, sources
from hnas_backends.layerbench.session import Session

QUICK = ("--samples", "1", "--min-us", "0", "--max-ms", "0", "--warm-ms", "0")
ACTIVATIONS = ("relu", "elu", "selu", "sigmoid", "relu6", "leakyrelu")
FEW = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def missing(what: str) -> None:
    """Skip the test, or fail it where ``HNAS_REQUIRE_TOOLS=1`` says that it must run."""
    if os.environ.get("HNAS_REQUIRE_TOOLS") == "1":
        pytest.fail(f"{what} is missing, and HNAS_REQUIRE_TOOLS=1", pytrace=False)
    pytest.skip(f"{what} is missing")


@pytest.fixture(scope="module")
def session() -> Iterator[Session]:
    if not any(shutil.which(c) for c in (os.environ.get("CC", "cc"), "cc", "gcc", "clang")):
        missing("a C compiler")
    with Session([str(host_binary()), *QUICK]) as running:
        yield running


@st.composite
def layers(draw: st.DrawFn, op: str) -> Layer:
    """A small layer of one operation, of any shape that it may have."""
    c, h, w = draw(st.integers(1, 9)), draw(st.integers(1, 15)), draw(st.integers(1, 15))
    bias = draw(st.booleans())
    if op == "linear":
        return Layer(op=op, in_shape=(c * h * w, 1, 1), out_shape=(draw(st.integers(1, 9)), 1, 1), bias=bias)
    if op == "avg_pool" and draw(st.booleans()):
        return Layer(op=op, in_shape=(c, h, w), out_shape=(c, draw(st.integers(1, 6)), draw(st.integers(1, 6))))
    if op not in ("conv2d", "max_pool", "avg_pool"):
        return Layer(op=op, in_shape=(c, h, w), out_shape=(c, h, w))
    kernel, stride = draw(st.integers(1, 5)), draw(st.integers(1, 3))
    if op == "max_pool":
        dilation = draw(st.integers(1, 3))
        padding = draw(st.integers(0, kernel // 2)) if dilation == 1 else 0  # else a window may hold no pixel at all
        if min(h, w) + 2 * padding + stride <= (kernel - 1) * dilation + 1:  # PyTorch has no such window
            kernel, padding = 1, 0
        out = tuple(_rounded_up(n, (kernel - 1) * dilation + 1, stride, padding) for n in (h, w))
        return Layer(
            op=op, in_shape=(c, h, w), out_shape=(c, *out), kernel=kernel, stride=stride, padding=padding,
            dilation=dilation,
        )  # fmt: skip
    if op == "avg_pool":
        kernel = min(kernel, h, w)
        padding = draw(st.integers(0, kernel // 2))
        out = tuple((n + 2 * padding - kernel) // stride + 1 for n in (h, w))
        if kernel == 1:  # that would be an adaptive one
            out = (h, w)
        return Layer(op=op, in_shape=(c, h, w), out_shape=(c, *out), kernel=kernel, stride=stride, padding=padding)
    dilation = draw(st.integers(1, 3))
    span = (kernel - 1) * dilation + 1
    padding = draw(st.integers(max(0, -(-(span - min(h, w)) // 2)), span))
    groups, wide, deep = draw(st.integers(1, 4)), draw(st.integers(1, 3)), draw(st.integers(1, 3))
    out = tuple((n + 2 * padding - span) // stride + 1 for n in (h, w))
    return Layer(
        op=op, in_shape=(groups * deep, h, w), out_shape=(groups * wide, *out),
        kernel=kernel, stride=stride, padding=padding, groups=groups, bias=bias, dilation=dilation,
    )  # fmt: skip


def _rounded_up(n: int, kernel: int, stride: int, padding: int) -> int:
    out = -(-(n + 2 * padding - kernel) // stride) + 1
    return out - 1 if out > 1 and (out - 1) * stride >= n + padding else out


@pytest.mark.parametrize("op", OPS)
def test_every_operation_computes_what_numpy_does(op, session):
    """A kernel that is wrong at an edge, a remainder or a group would be timed all the same."""

    @FEW
    @given(layers(op))
    def check(layer):
        (row,) = session.run([spec(layer)])
        verify(row, [layer])

    check()


def test_the_program_knows_the_activations_of_the_core():
    """One that is missing would be refused by every board, at the end of a profile."""
    named = re.findall(r'DO\(\w+, "(\w+)"', sources()["activations.h"].decode())
    assert named == list(activations.ACTIVATIONS)


def test_the_plain_kernel_reads_and_writes_only_what_is_its_own(tmp_path):
    """No processor here may have what ``-march=native`` leaves out: its kernel, without a warning, under sanitizers."""
    cc, binary = shutil.which("gcc") or shutil.which("clang"), tmp_path / "layerbench"
    if cc is None:
        missing("gcc or clang")
    checks = (
        "-Wall",
        "-Wextra",
        "-Werror",
        "-O1",
        "-std=gnu99",
        "-fsanitize=address,undefined",
        "-fno-sanitize-recover",
    )
    for name, content in sources().items():
        (tmp_path / name).write_bytes(content)
    built = subprocess.run([cc, *checks, "-o", binary, *SOURCES], cwd=tmp_path, capture_output=True, text=True)
    if built.returncode and "cannot find" in built.stderr:
        missing("the sanitizers' library")
    assert built.returncode == 0, built.stderr
    with Session([str(binary), *QUICK]) as running:

        @settings(max_examples=150, deadline=None)
        @given(st.sampled_from(OPS).flatmap(layers))
        def check(layer):
            (row,) = running.run([spec(layer)])
            verify(row, [layer])

        check()


@pytest.mark.parametrize(("channels", "size", "out", "kernel"), [(3, 30, 130, 5), (70, 9, 37, 3), (300, 5, 6, 1)])
def test_a_convolution_larger_than_a_block_is_right(channels, size, out, kernel, session):
    """More than 256 weights a window, more than 128 pixels: what is summed over blocks."""
    layer = Layer(
        op="conv2d", in_shape=(channels, size, size), out_shape=(out, size, size), kernel=kernel, padding=kernel // 2,
        bias=True,
    )  # fmt: skip
    (row,) = session.run([spec(layer)])
    verify(row, [layer])


def test_a_chain_computes_what_its_layers_do_one_after_another(session):
    """A network measured end to end must be the network, not its layers on any data."""
    maps = (6, 7, 7)
    chain = [
        Layer(op="conv2d", in_shape=(2, 13, 13), out_shape=maps, kernel=3, stride=2, padding=1, bias=True),
        *(Layer(op=op, in_shape=maps, out_shape=maps) for op in ("norm", "add", *ACTIVATIONS)),
        Layer(op="max_pool", in_shape=maps, out_shape=(6, 4, 4), kernel=2, stride=2),
        Layer(op="avg_pool", in_shape=(6, 4, 4), out_shape=(6, 3, 3)),
        Layer(op="linear", in_shape=(54, 1, 1), out_shape=(5, 1, 1), bias=True),
    ]
    (row,) = session.run([network_spec(chain)])
    verify(row, chain)
    swapped = [chain[0], chain[3], chain[2], chain[1], *chain[4:]]
    with pytest.raises(DeviceError, match="something else for the network of 12 layers"):
        verify(row, swapped)


def residual(width: int, given: tuple[int, int, int]) -> list[Layer]:
    """Return a residual block whose shortcut reads the block's input, and whose sum the branch that came before."""
    maps = (width, -(-given[1] // 2), -(-given[2] // 2))
    same = {"in_shape": maps, "out_shape": maps}
    return [
        Layer(op="conv2d", in_shape=given, out_shape=maps, kernel=3, stride=2, padding=1, bias=True),
        Layer(op="elu", **same),
        Layer(op="conv2d", **same, kernel=3, padding=1, bias=True),
        Layer(op="conv2d", in_shape=given, out_shape=maps, kernel=1, stride=2, bias=True),
        Layer(op="norm", **same),
        Layer(op="add", **same),
        Layer(op="relu", **same),
    ]


def test_residual_blocks_read_the_blocks_input_and_add_both_branches(session):
    """Buffers in turn, as for a chain, would overwrite what the shortcut or the addition still has to read."""
    layers = [
        *residual(4, (2, 13, 11)),
        *residual(3, (4, 7, 6)),
        Layer(op="add", in_shape=(3, 4, 3), out_shape=(3, 4, 3)),
    ]
    (row,) = session.run([network_spec(layers)])
    verify(row, layers)
    values = [numbers(2 * 13 * 11, 1).reshape(2, 13, 11)]
    for i in range(7):
        x = values[0] if i == 3 else values[-1]
        values.append(values[3] + values[5] if i == 5 else _apply(layers[i], x, 16 * i))
    assert expected(tuple(layers[:7])).sum == pytest.approx(values[-1].sum())


@pytest.mark.parametrize(
    ("layers", "error"),
    [
        ([Layer(op="max_pool", in_shape=(2, 4, 4), out_shape=(2, 2, 2), kernel=2, stride=2),
          Layer(op="relu", in_shape=(2, 4, 4), out_shape=(2, 4, 4))], "layer 2 .*takes 2x4x4"),
        ([Layer(op="relu", in_shape=(2, 4, 4), out_shape=(2, 4, 4)),
          Layer(op="relu", in_shape=(2, 3, 4), out_shape=(2, 3, 4))], "layer 2 .*takes 2x3x4"),
    ],
)  # fmt: skip
def test_the_program_itself_refuses_what_is_no_network(session, layers, error):
    """It runs on boards on its own, too, and must not read buffers that nothing was written into."""
    with pytest.raises(DeviceError, match=error):
        list(session.run([" ".join(spec(layer) for layer in layers)]))


@pytest.mark.parametrize("op", OPS)
def test_the_oracle_means_what_pytorch_means(op):
    """Program and oracle could agree on something that is not the layer: ceil, adaptive cells, groups, constants."""
    torch = pytest.importorskip("torch")
    F = torch.nn.functional

    @settings(max_examples=40, deadline=None)
    @given(layers(op))
    def check(layer):
        x = numbers(math.prod(layer.in_shape), 1).reshape(layer.in_shape) * 16
        t, out = torch.from_numpy(x)[None], layer.out_shape
        bias = torch.from_numpy(numbers(out[0], 8)) if layer.bias else None
        if op == "conv2d":
            k = layer.kernel
            weights = torch.from_numpy(numbers(layer.params - (out[0] if layer.bias else 0), 7))
            weights = weights.reshape(out[0], layer.in_shape[0] // layer.groups, k, k)
            right = F.conv2d(t, weights, bias, layer.stride, layer.padding, layer.dilation, layer.groups)
        elif op == "linear":
            weights = torch.from_numpy(numbers(out[0] * layer.in_shape[0], 7)).reshape(out[0], -1)
            right = F.linear(t.flatten(1), weights, bias)[..., None, None]
        elif op == "norm":
            a, b = (torch.from_numpy(numbers(out[0], seed)) for seed in (7, 8))
            right = F.batch_norm(t, torch.zeros_like(a), torch.ones_like(a), a, b, eps=0.0)
        elif op == "max_pool":
            right = F.max_pool2d(t, layer.kernel, layer.stride, layer.padding, layer.dilation, ceil_mode=True)
        elif op == "avg_pool":
            right = (
                F.adaptive_avg_pool2d(t, out[1:])
                if layer.kernel == 1
                else F.avg_pool2d(t, layer.kernel, layer.stride, layer.padding)
            )
        elif op == "concat":
            right = t
        elif op == "add":
            right = t + torch.from_numpy(numbers(t.numel(), 7)).reshape(t.shape)
        else:
            right = getattr(F, {"leakyrelu": "leaky_relu"}.get(op, op))(t)
        assert right.shape[1:] == out
        np.testing.assert_allclose(_apply(layer, x, 0), right[0].numpy(), rtol=1e-6, atol=1e-6)

    check()


def test_numbers_are_a_hash_of_their_position():
    """Neighbours that are alike, or a sum that cancels, would let a wrong offset pass as right."""
    one = Layer(op="add", in_shape=(1, 1, 1), out_shape=(1, 1, 1))
    assert numbers(1, 1)[0] == expected((one,)).sum - numbers(1, 7)[0]
    many = numbers(100_000, 3)
    assert (many.min() >= -0.5) & (many.max() < 0.5)
    assert abs(many.mean()) < 0.005
    assert abs(np.corrcoef(many[:-1], many[1:])[0, 1]) < 0.02


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("softmax-1x4x4-1x4x4-k1s1p0g1b0", "unknown operation softmax.*known: conv2d"),
        ("relu-1x4x4", "no layer key"),
        ("relu-1x4x4-1x4x4-k1s1p0g1b0x", "no layer key"),
        ("relu-1x4x4-1x5x5-k1s1p0g1b0", "differ in shape"),
        ("conv2d-4x4x4-4x4x4-k3s1p1g3b0", "groups do not divide"),
        ("conv2d-4x4x4-4x5x5-k3s1p1g1b0", "does not follow"),
        ("conv2d-0x4x4-4x4x4-k3s1p1g1b0", "a size is not"),
        ("avg_pool-1x5x5-1x4x4-k3s1p0g1b0", "does not follow"),
        ("avg_pool-1x5x5-1x7x7-k3s1p2g1b0", "more than half"),
        ("conv2d-1048576x1000x1000-1x1000x1000-k1s1p0g1b0", "map too large"),
        ("relu-1x4x4-1x4x4-k1s1p0g1b0 relu-1x5x5-1x5x5-k1s1p0g1b0", "layer 2 of the network takes 1x5x5"),
        ("x" * 100_000, "too long"),
    ],
)
def test_a_wrong_line_is_an_error_and_the_next_one_is_measured(line, said, session):
    """One bad layer must not end a profile on a board far away."""
    with pytest.raises(DeviceError, match=said):
        list(session.run([line]))
    layer = Layer(op="relu", in_shape=(1, 4, 4), out_shape=(1, 4, 4))
    (row,) = session.run([spec(layer)])
    verify(row, [layer])


def test_specs_refuse_what_the_program_cannot_run():
    """Told on the host, by name, before a device is asked."""
    maps = {"in_shape": (1, 4, 4), "out_shape": (1, 4, 4)}
    with pytest.raises(DeviceError, match=r"'conv'.*Did you mean 'conv2d'.*Known: conv2d, linear") as caught:
        spec(Layer(op="conv", **maps, counts=(1, 16)))
    assert "torch" not in caught.value.hint  # which cannot run it either
    with pytest.raises(PluginError, match="no layer avg_pool-1x5x5-1x4x4-k3s1p0g1b0: its output does not follow"):
        spec(Layer(op="avg_pool", in_shape=(1, 5, 5), out_shape=(1, 4, 4), kernel=3, stride=1))
    assert spec(Layer(op="avg_pool", in_shape=(1, 5, 5), out_shape=(1, 5, 5), kernel=3, padding=1))
    assert spec(Layer(op="avg_pool", in_shape=(1, 4, 4), out_shape=(1, 2, 2), kernel=2, stride=2))
    with pytest.raises(DeviceError, match=r"layer 2 .*takes 2x4x4: the one before gives 1x4x4"):
        network_spec([Layer(op="relu", **maps), Layer(op="relu", in_shape=(2, 4, 4), out_shape=(2, 4, 4))])
    with pytest.raises(DeviceError, match="without layers"):
        network_spec([])
