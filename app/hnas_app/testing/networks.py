"""Two small networks, as hardware sees them: one layer after the other, and with a residual block."""

from __future__ import annotations

from hnas.layer import Layer, Shape


def _conv(read: Shape, given: Shape, kernel: int, stride: int = 1) -> tuple[Layer, Layer]:
    """Return a convolution and its batch normalisation."""
    conv = Layer(
        op="conv2d", in_shape=read, out_shape=given, kernel=kernel, stride=stride, padding=kernel // 2, bias=True
    )
    return conv, _same("norm", given)


def _same(op: str, shape: Shape) -> Layer:
    return Layer(op=op, in_shape=shape, out_shape=shape)


_IMAGE, _HALF, _QUARTER, _WIDE = (3, 24, 24), (16, 12, 12), (16, 6, 6), (32, 6, 6)
_HEAD = (
    Layer(op="avg_pool", in_shape=_WIDE, out_shape=(32, 1, 1)),
    Layer(op="linear", in_shape=(32, 1, 1), out_shape=(5, 1, 1), bias=True),
)

CHAIN = (
    *_conv(_IMAGE, _HALF, 3, 2),
    _same("relu", _HALF),
    Layer(op="max_pool", in_shape=_HALF, out_shape=_QUARTER, kernel=2, stride=2),
    *_conv(_QUARTER, _WIDE, 5),
    _same("elu", _WIDE),
    *_HEAD,
)
"""Two convolutions, pooling and a classifier for 3×24×24 images."""

RESIDUAL = (
    *_conv(_IMAGE, _QUARTER, 3, 4),
    _same("relu", _QUARTER),
    *_conv(_QUARTER, _WIDE, 3),
    _same("relu", _WIDE),
    *_conv(_WIDE, _WIDE, 3),
    *_conv(_QUARTER, _WIDE, 1),  # the shortcut: it reads the block's input, so `dataflow` sees a branch
    _same("add", _WIDE),
    _same("relu", _WIDE),
    *_HEAD,
)
"""A block of two convolutions with a shortcut of another width."""
