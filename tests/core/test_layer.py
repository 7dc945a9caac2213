"""A layer that no network can have is refused by name when it is made; every one that torch has a module for can be."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from hnas import Layer, PluginError
from hnas.toolkit.operations import OPERATIONS

MAPS: dict[str, Any] = {"in_shape": (4, 5, 5), "out_shape": (4, 5, 5)}
WRONG = [
    ({"op": "conv2d", **MAPS, "kernel": 3, "padding": 2}, "5x5-k3s1p2.* does not follow .* 7x7 would"),
    ({"op": "conv2d", **MAPS, "kernel": 3}, "does not follow .* 3x3 would"),
    ({"op": "conv2d", **MAPS, "kernel": 3, "padding": 1, "dilation": 2}, "g1b0d2: its output .* 3x3 would"),
    ({"op": "conv2d", "in_shape": (4, 2, 2), "out_shape": (4, 1, 1), "kernel": 5}, "nothing would"),
    ({"op": "conv2d", **MAPS, "kernel": 3, "padding": 1, "groups": 3}, "3 groups do not divide"),
    ({"op": "conv2d", "in_shape": (4, 0, 5), "out_shape": (4, 5, 5)}, "4x0x5.* less than 1"),
    ({"op": "conv2d", "in_shape": (4, 5), "out_shape": (4, 5)}, "a size of it"),
    ({"op": "conv2d", **MAPS, "groups": 0}, "less than 1"),
    *(({"op": "relu", **MAPS, "reads": r}, "a tuple of places") for r in ((0,), (-1,), 1, [1], (1.0,), (True,))),
    ({"op": "conv2d", **MAPS, "dilation": 0}, "less than 1"),
    ({"op": "conv2d", **MAPS, "padding": -1, "kernel": 1}, "padding less than 0"),
    ({"op": "conv2d", **MAPS, "counts": (1, 1)}, "counts follow from its shapes"),
    ({"op": "linear", "in_shape": (4, 2, 2), "out_shape": (5, 1, 1)}, "height and width 1"),
    ({"op": "linear", "in_shape": (4, 1, 1), "out_shape": (5, 1, 1), "kernel": 3}, "neither a window"),
    ({"op": "max_pool", **MAPS, "kernel": 2, "stride": 2}, "does not follow .* 2x2 or 3x3 would"),
    ({"op": "max_pool", "in_shape": (4, 5, 5), "out_shape": (4, 2, 3), "kernel": 2, "stride": 2}, "2x2 or 3x3 would"),
    ({"op": "max_pool", **MAPS, "kernel": 3, "padding": 2}, "more than half"),
    ({"op": "max_pool", "in_shape": (4, 5, 5), "out_shape": (3, 5, 5)}, "keeps the channels"),
    ({"op": "avg_pool", "in_shape": (4, 5, 5), "out_shape": (4, 3, 3), "kernel": 2, "stride": 2}, "does not follow"),
    ({"op": "avg_pool", "in_shape": (4, 5, 5), "out_shape": (3, 1, 1)}, "keeps the channels"),
    ({"op": "avg_pool", **MAPS, "kernel": 3, "padding": 1, "dilation": 2}, "no dilation"),
    ({"op": "add", "in_shape": (4, 5, 5), "out_shape": (4, 5, 4)}, "differ in shape"),
    ({"op": "concat", "in_shape": (4, 5, 5), "out_shape": (8, 5, 5)}, "differ in shape"),
    ({"op": "relu", "in_shape": (4, 5, 5), "out_shape": (4, 4, 5)}, "differ in shape"),
    ({"op": "relu", **MAPS, "kernel": 3, "padding": 1}, "neither a window"),
    ({"op": "dil_conv2d", **MAPS}, "'dil_conv2d' is unknown. Did you mean 'conv2d'.* Known: conv2d"),
    ({"op": "gelu", **MAPS, "counts": (0, -1)}, "'gelu' is unknown"),
]


@pytest.mark.parametrize(("fields", "why"), WRONG, ids=lambda value: value.get("op") if isinstance(value, dict) else "")
def test_a_layer_that_cannot_be_is_refused_by_name(fields: dict[str, Any], why: str) -> None:
    """Torch would raise an error of its own, a model price another layer, and an unknown operation would be free."""
    for _ in range(2):  # the answer is remembered
        with pytest.raises(PluginError, match=why) as caught:
            Layer(**fields)
        assert str(caught.value).startswith(f"there is no layer {fields['op']}-")
        assert caught.value.hint


@pytest.mark.parametrize("op", OPERATIONS)
def test_the_usual_shapes_are_not_refused(op: str) -> None:
    if op == "linear":
        Layer(op=op, in_shape=(4, 1, 1), out_shape=(5, 1, 1))
    else:
        Layer(op=op, **MAPS)


def test_an_operation_of_ones_own_states_its_counts() -> None:
    """Zero would be right for an activation, and silently wrong for a convolution; so neither is assumed."""
    own = Layer(op="deform_conv2d", in_shape=(4, 5, 5), out_shape=(8, 3, 3), kernel=3, counts=(450, 4050))
    assert (own.params, own.macs) == (450, 4050)
    gelu = Layer(op="gelu", **MAPS, counts=(0, 0))
    assert (gelu.params, gelu.macs) == (0, 0)
    assert sorted([own, gelu, Layer(op="elu", **MAPS)])[0] == own


def test_dilation_and_groups_count_what_torch_has() -> None:
    depthwise = Layer(op="conv2d", **MAPS, kernel=3, padding=2, dilation=2, groups=4, bias=True)
    assert depthwise.params == sum(p.numel() for p in nn.Conv2d(4, 4, 3, padding=2, dilation=2, groups=4).parameters())
    assert depthwise.macs == 9 * 4 * 25
    assert depthwise.key == "conv2d-4x5x5-4x5x5-k3s1p2g4b1d2"


@settings(deadline=None)
@given(
    op=st.sampled_from(("conv2d", "max_pool", "avg_pool")),
    size=st.tuples(st.integers(1, 9), st.integers(1, 9)),
    kernel=st.integers(1, 5),
    stride=st.integers(1, 3),
    padding=st.integers(0, 4),
    dilation=st.integers(1, 3),
    up=st.booleans(),
    off=st.tuples(st.integers(-1, 1), st.integers(-1, 1)),
)
def test_a_window_fits_if_torch_says_so(
    op: str, size: Any, kernel: int, stride: int, padding: int, dilation: int, up: bool, off: Any
) -> None:
    """A network that could be trained could not be priced, or the other way round."""
    if op == "avg_pool":
        kernel, dilation = max(2, kernel), 1  # a kernel of 1 is adaptive
    kinds: dict[str, Any] = {
        "conv2d": lambda: nn.Conv2d(2, 2, kernel, stride, padding, dilation, device="meta"),
        "max_pool": lambda: nn.MaxPool2d(kernel, stride, padding, dilation, ceil_mode=up),
        "avg_pool": lambda: nn.AvgPool2d(kernel, stride, padding),
    }
    try:
        right = tuple(kinds[op]()(torch.zeros(1, 2, *size, device="meta")).shape[2:])
    except RuntimeError:
        right = None
    window = {"op": op, "kernel": kernel, "stride": stride, "padding": padding, "dilation": dilation}
    if right is not None:
        assert Layer(in_shape=(2, *size), out_shape=(2, *right), **window)
        tried = tuple(n + d for n, d in zip(right, off, strict=True))
        if min(tried) > 0 and off != (0, 0) and op != "max_pool":  # which may round up or down
            with pytest.raises(PluginError, match="does not follow"):
                Layer(in_shape=(2, *size), out_shape=(2, *tried), **window)
    else:
        with pytest.raises(PluginError):
            Layer(
                in_shape=(2, *size), out_shape=(2, *(max(1, n + d) for n, d in zip(size, off, strict=True))), **window
            )
