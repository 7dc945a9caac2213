"""Every layer that a space here can emit is run by every backend."""

from __future__ import annotations

import runpy
import shutil
from pathlib import Path

import pytest

from hnas import Layer
from hnas_app.testing.networks import EVERY_LAYER
from hnas_backends.eyeriss.closed_form import gemm
from hnas_backends.eyeriss_rs.shape import shape_of
from hnas_backends.layerbench.lines import spec
from hnas_backends.layerbench.oracle import verify
from hnas_backends.layerbench.program import host_binary
from hnas_backends.layerbench.session import Session
from hnas_plugins.spaces.resnet12 import ResNet12, ResNet12Options
from hnas_plugins.spaces.vgg9 import VGG9, VGG9Options

EXAMPLE = Path(__file__).parents[2] / "examples" / "custom_space.py"
CELL = Layer(op="avg_pool", in_shape=(4, 8, 8), out_shape=(4, 8, 8), kernel=3, stride=1, padding=1)
"""As the cells of NAS-Bench-201 and HW-NAS-Bench have it."""


def spaces():
    yield VGG9(VGG9Options(base_width=4, downsample="pool"))
    yield VGG9(VGG9Options(base_width=4, downsample="stride", pool=3))
    yield ResNet12(ResNet12Options(base_width=4))
    own = runpy.run_path(str(EXAMPLE))["MySpace"]
    yield own(own.Options())


def emitted() -> list[Layer]:
    """Return one layer of each operation and geometry that the spaces emit, the smallest."""
    found: dict[tuple[object, ...], Layer] = {(): CELL}
    for space in spaces():
        for layer in space.distinct_layers((3, 28, 28), 5):
            kind = (layer.op, layer.kernel, layer.stride, layer.padding, layer.groups > 1, *layer.in_shape[1:])
            found.setdefault(kind, layer)
    return list(found.values())


@pytest.fixture(scope="module")
def layers() -> list[Layer]:
    return emitted()


def test_the_c_program_runs_what_spaces_emit(layers):
    """A kernel that is missing is found at the end of a profile, on a board far away."""
    if not any(map(shutil.which, ("cc", "gcc", "clang"))):
        pytest.skip("no C compiler")
    quick = ("--samples", "1", "--min-us", "0", "--max-ms", "0", "--warm-ms", "0")
    with Session([str(host_binary()), *quick]) as session:
        for layer, row in zip(layers, session.run([spec(layer) for layer in layers]), strict=True):
            verify(row, [layer])


def test_pytorch_runs_what_spaces_emit(layers):
    torch = pytest.importorskip("torch")
    from hnas_backends.torch_layers import example, module

    for layer in (*layers, *EVERY_LAYER):
        result = module(layer)(example(layer, 1, "cpu", torch.Generator()))
        assert (*result.shape[1:], 1, 1)[:3] == layer.out_shape, layer.key


def test_onnxruntime_runs_what_spaces_emit(layers):
    pytest.importorskip("onnxruntime")
    from hnas_backends.x86.onnx_runtime import Call

    for layer in layers:
        assert Call([layer]).result().size == layer.out_shape[0] * layer.out_shape[1] * layer.out_shape[2], layer.key


def test_the_models_price_what_spaces_emit(layers):
    for layer in (*layers, *EVERY_LAYER):
        if layer.op in ("conv2d", "linear"):
            assert gemm(layer).p > 0
            assert shape_of(layer, 1).macs > 0
