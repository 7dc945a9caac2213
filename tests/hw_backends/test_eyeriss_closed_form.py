"""The closed form against ScaleSim itself: its whole simulator on small layers, its compute model on many."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hnas import DeviceError, Layer
from hnas_backends.eyeriss import Eyeriss, EyerissOptions
from hnas_backends.eyeriss.closed_form import Gemm, gemm, total_cycles
from hnas_backends.eyeriss.options import DATAFLOWS
from hnas_backends.eyeriss.scalesim_engine import compute_model_cycles, simulate


def conv(c_in, size, c_out, out, kernel, stride=1, padding=0, groups=1, dilation=1):
    return Layer(
        op="conv2d",
        in_shape=(c_in, size, size),
        out_shape=(c_out, out, out),
        kernel=kernel,
        stride=stride,
        padding=padding,
        groups=groups,
        dilation=dilation,
        bias=True,
    )


SMALL = {
    "one fold": conv(1, 4, 8, 4, 1),
    "first layer, stride 2, padded": conv(1, 14, 16, 7, 3, stride=2, padding=1),
    "odd map, rounded up": conv(3, 7, 20, 4, 5, stride=2, padding=2),
    "several folds both ways": conv(16, 4, 30, 2, 3, stride=2, padding=1),
    "two groups": conv(8, 4, 32, 4, 3, padding=1, groups=2),
    "each channel alone": conv(5, 4, 5, 4, 3, padding=1, groups=5),
    "dilated": conv(16, 7, 20, 4, 3, stride=2, padding=2, dilation=2),
    "linear": Layer(op="linear", in_shape=(40, 1, 1), out_shape=(5, 1, 1), bias=True),
}


def closed_form(layer, options):
    return total_cycles(gemm(layer), dataflow=options.dataflow, rows=options.rows, cols=options.cols)


@pytest.mark.parametrize("dataflow", DATAFLOWS)
@pytest.mark.parametrize("name", SMALL)
def test_equals_the_whole_simulator(name, dataflow):
    """The formula, the lowering or the adapter is wrong for this kind of layer."""
    options = EyerissOptions(dataflow=dataflow)
    assert closed_form(SMALL[name], options) == simulate(SMALL[name], options)


@settings(max_examples=60, deadline=None)
@given(
    dataflow=st.sampled_from(DATAFLOWS),
    rows=st.integers(1, 16),
    cols=st.integers(1, 16),
    c_in=st.integers(1, 24),
    c_out=st.integers(1, 40),
    out=st.integers(1, 8),
    kernel=st.sampled_from([1, 3, 5]),
    stride=st.integers(1, 2),
)
def test_equals_the_compute_model_on_any_layer_and_array(dataflow, rows, cols, c_in, c_out, out, kernel, stride):
    """The formula fails for some dataflow, array, or layer that does not fill its last fold."""
    layer = conv(c_in, out * stride, c_out, out, kernel, stride=stride, padding=kernel // 2)
    options = EyerissOptions(dataflow=dataflow, rows=rows, cols=cols)
    assert closed_form(layer, options) == compute_model_cycles(layer, options)


def test_alexnet_takes_as_long_as_scalesim_says():
    """Golden: ScaleSim's Eyeriss preset sums AlexNet's five convolutions to 23.57 ms; the chip took about 26 ms.

    Breaks if groups, strides or the clock are taken wrongly: with the groups ignored it would be 37.24 ms.
    """
    layers = [
        conv(3, 227, 96, 55, 11, stride=4),
        conv(96, 27, 256, 27, 5, padding=2, groups=2),
        conv(256, 13, 384, 13, 3, padding=1),
        conv(384, 13, 384, 13, 3, padding=1, groups=2),
        conv(384, 13, 256, 13, 3, padding=1, groups=2),
    ]
    assert round(Eyeriss(EyerissOptions()).measure_network(layers)["latency"].median, 2) == 23.57


def test_vgg16_takes_as_long_as_scalesim_says():
    """Golden: 494 ms for VGG-16's thirteen convolutions (the chip: about 1252 ms, which this does not predict)."""
    widths = [(3, 64, 224), (64, 64, 224), (64, 128, 112), (128, 128, 112), (128, 256, 56), (256, 256, 56)]
    widths += [(256, 256, 56), (256, 512, 28), (512, 512, 28), (512, 512, 28)] + [(512, 512, 14)] * 3
    layers = [conv(a, size, b, size, 3, padding=1) for a, b, size in widths]
    assert round(Eyeriss(EyerissOptions()).measure_network(layers)["latency"].median) == 494


def test_lowers_to_the_matrix_product_of_the_paper():
    """P, K or M is read from the wrong dimension: cycles would then be those of another layer."""
    assert gemm(conv(16, 8, 30, 4, 3, stride=2, padding=1)) == Gemm(p=16, k=144, m=30)
    assert gemm(conv(16, 8, 32, 8, 3, padding=1, groups=4)) == Gemm(p=64, k=36, m=8, times=4)
    assert gemm(SMALL["linear"]) == Gemm(p=1, k=40, m=5)
    assert gemm(SMALL["each channel alone"]) == Gemm(p=16, k=9, m=1, times=5)
    assert gemm(SMALL["dilated"]) == Gemm(p=16, k=144, m=20)


def test_refuses_what_scalesim_does_not_model():
    """A pooling layer priced as if it were a convolution would look right."""
    layer = Layer(op="max_pool", in_shape=(8, 4, 4), out_shape=(8, 2, 2), kernel=2, stride=2)
    with pytest.raises(DeviceError, match=r"'max_pool' \(max_pool-8x4x4-8x2x2"):
        gemm(layer)
