"""Small networks, as hardware sees them: one layer after the other, a residual block, a cell; and single layers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hnas.layer import Layer, Shape
from hnas.toolkit.operations import OPERATIONS


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

_MAP, _JOINED = (8, 6, 6), (24, 6, 6)
CELL = (
    Layer(op="conv2d", in_shape=(3, 6, 6), out_shape=_MAP, kernel=3, padding=1, bias=True),
    Layer(op="conv2d", in_shape=_MAP, out_shape=_MAP, kernel=3, padding=2, groups=8, dilation=2),
    Layer(op="conv2d", in_shape=_MAP, out_shape=_MAP, reads=(1,)),
    Layer(op="max_pool", in_shape=_MAP, out_shape=_MAP, kernel=3, padding=1, reads=(3,)),
    Layer(op="add", in_shape=_MAP, out_shape=_MAP, reads=(1, 2)),
    Layer(op="add", in_shape=_MAP, out_shape=_MAP, reads=(5, 5)),
    Layer(op="concat", in_shape=_JOINED, out_shape=_JOINED, reads=(2, 1, 6)),
    Layer(op="avg_pool", in_shape=_JOINED, out_shape=(24, 1, 1)),
    Layer(op="linear", in_shape=(24, 1, 1), out_shape=(5, 1, 1), bias=True),
)
"""A cell whose two inputs are one map: a dilated separable convolution and a pooling are added, the input to itself,
and both sums and the input are joined."""

_FIELDS: Mapping[str, Mapping[str, Any]] = {
    "conv2d": {"kernel": 3, "padding": 1},
    "max_pool": {"kernel": 3, "padding": 1},
    "linear": {"in_shape": (8, 1, 1), "out_shape": (5, 1, 1)},
}
_CONV: Mapping[str, Any] = {"op": "conv2d", "in_shape": _MAP, "out_shape": _MAP, "kernel": 3}
EVERY_LAYER = (
    *(Layer(**{"op": op, "in_shape": _MAP, "out_shape": _MAP} | dict(_FIELDS.get(op, {}))) for op in OPERATIONS),
    Layer(**_CONV, padding=1, groups=8),
    Layer(**_CONV, padding=2, dilation=2),
)
"""A layer of each operation; and convolutions of each channel alone, and with dilation."""
