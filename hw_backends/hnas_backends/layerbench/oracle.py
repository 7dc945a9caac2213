"""The right results of the C program, with numpy in float64: they prove that a device measured the right thing.

Inputs and weights are a hash of their position, see `numbers`; ``ops.c`` has the same lines.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np

from hnas import DeviceError, Layer
from hnas.toolkit.activations import ACTIVATIONS
from hnas_backends.geometry import is_adaptive
from hnas_backends.layerbench.lines import Checksums, Row, connections

TOLERANCE = 1e-4
"""Relative error of float32 sums in any order stays below 1e-5 here; a wrong pixel or weight gives far more."""
Array = np.ndarray[Any, Any]


def numbers(count: int, seed: int) -> Array:
    """Return ``count`` numbers in [-0.5, 0.5), float64 that are exact in float32 too: a hash of position and seed."""
    x = np.arange(count, dtype=np.uint32) + np.uint32(seed * 0x9E3779B9 & 0xFFFFFFFF)
    x ^= x >> np.uint32(16)
    x *= np.uint32(0x7FEB352D)
    x ^= x >> np.uint32(15)
    x *= np.uint32(0x846CA68B)
    x ^= x >> np.uint32(16)
    return (x >> np.uint32(8)) / 2.0**24 - 0.5


def verify(row: Row, layers: Sequence[Layer]) -> None:
    """Raise `DeviceError` unless ``row`` holds the checksums of these layers, run as a network."""
    due, wanted = expected(tuple(layers)), layers[-1].out_shape
    name = layers[0].key if len(layers) == 1 else f"the network of {len(layers)} layers"
    if row.out_shape != wanted:
        raise DeviceError(f"the device computed {row.out_shape} as the output of {name}; it should be {wanted}")
    # The error of a sum grows with the size of its terms, that of a single value with the values around it.
    size = due.abs / (wanted[0] * wanted[1] * wanted[2])
    for kind, scale in (("sum", due.abs), ("abs", due.abs), ("mix", due.abs), ("first", size), ("last", size)):
        seen, right = getattr(row.checksums, kind), getattr(due, kind)
        error = abs(seen - right) / max(scale, abs(right), 1e-30)
        if not error <= TOLERANCE:
            raise DeviceError(
                f"the device computed something else for {name}: its checksum {kind!r} is {seen:.9g}, numpy's "
                f"{right:.9g} (relative error {error:.1e}, allowed {TOLERANCE:g})",
                hint="its times mean nothing: the program is not the one that this version of hnas sends, its compiler "
                "or its floating point unit is broken, or the device is unstable (overclocked, undervolted)",
            )


def expected(layers: tuple[Layer, ...]) -> Checksums:
    """Return the checksums of layers run as a network. Cached; the first time takes milliseconds."""
    return _expected(layers, tuple(connections(layers)))


@lru_cache(maxsize=1 << 14)
def _expected(layers: tuple[Layer, ...], reads: tuple[tuple[int, ...], ...]) -> Checksums:
    """``reads`` is an argument since layers that read other values are equal."""
    flat = result(layers, reads).ravel()
    return Checksums(
        sum=float(flat.sum()),
        abs=float(np.abs(flat).sum()),
        mix=float(flat @ numbers(flat.size, 5)),
        first=float(flat[0]),
        last=float(flat[-1]),
    )


def result(layers: Sequence[Layer], reads: Sequence[tuple[int, ...]]) -> Array:
    """Return the output of layers that read these values, as `lines.connections` numbers them."""
    values = [numbers(math.prod(layers[0].in_shape), 1).reshape(layers[0].in_shape)]
    for n, (layer, (read, *others)) in enumerate(zip(layers, reads, strict=True)):
        x = values[read]
        if layer.op == "concat":
            values.append(np.concatenate([x, *(values[other] for other in others)]))
        elif others:
            values.append(x + sum(values[other] for other in others))
        else:
            values.append(_apply(layer, x.reshape(layer.in_shape), 16 * n))
    return values[-1]


def _apply(layer: Layer, x: Array, seed: int) -> Array:
    match layer.op:
        case "conv2d":
            return _convolution(layer, x, seed)
        case "linear":
            weights = numbers(x.size * layer.out_shape[0], seed + 7).reshape(layer.out_shape[0], x.size)
            given: Array = weights @ x.ravel() + _bias(layer, seed)
            return given[:, None, None]
        case "norm":
            channels = layer.out_shape[0]
            return numbers(channels, seed + 7)[:, None, None] * x + numbers(channels, seed + 8)[:, None, None]
        case "max_pool":
            largest: Array = _windows(layer, x, -np.inf).max(axis=(-1, -2))
            return largest
        case "avg_pool" if not is_adaptive(layer):
            means: Array = _windows(layer, x, 0.0).mean(axis=(-1, -2))
            return means
        case "avg_pool":
            rows, columns = (cells(*sizes) for sizes in zip(x.shape[1:], layer.out_shape[1:], strict=True))
            pooled = [[x[:, slice(*r), slice(*c)].mean(axis=(1, 2)) for c in columns] for r in rows]
            return np.moveaxis(np.array(pooled), 2, 0)
        case "concat":
            return x
        case "add":
            return x + numbers(x.size, seed + 7).reshape(x.shape)
        case activation:
            result: Array = ACTIVATIONS[activation].formula(np, x)
            return result


def _bias(layer: Layer, seed: int) -> Array:
    return numbers(layer.out_shape[0], seed + 8) if layer.bias else np.zeros(layer.out_shape[0])


def _convolution(layer: Layer, x: Array, seed: int) -> Array:
    """Multiply weights and windows, one product for each group."""
    (channels, height, width), groups, k = layer.out_shape, layer.groups, layer.kernel
    taken = layer.in_shape[0] // groups
    weights = numbers(channels * taken * k * k, seed + 7).reshape(groups, channels // groups, taken * k * k)
    columns = _windows(layer, x, 0.0).transpose(0, 3, 4, 1, 2).reshape(groups, taken * k * k, height * width)
    given: Array = weights @ columns
    return given.reshape(layer.out_shape) + _bias(layer, seed)[:, None, None]


def _windows(layer: Layer, x: Array, beyond: float) -> Array:
    """Return the window of each output, shape (C, out height, out width, k, k); ``beyond`` is what the edge hides."""
    (_, height, width), d, s, p = layer.out_shape, layer.dilation, layer.stride, layer.padding
    span = (layer.kernel - 1) * d + 1
    after = [max(0, (n - 1) * s + span - p - size) for n, size in zip((height, width), x.shape[1:], strict=True)]
    padded = np.pad(x, ((0, 0), (p, after[0]), (p, after[1])), constant_values=beyond)
    windows: Array = np.lib.stride_tricks.sliding_window_view(padded, (span, span), axis=(1, 2))
    return windows[:, ::s, ::s, ::d, ::d][:, :height, :width]


def cells(size: int, count: int) -> list[tuple[int, int]]:
    """Cut ``size`` pixels into ``count`` cells as an adaptive pooling does; they may overlap by one."""
    return [(i * size // count, -(-(i + 1) * size // count)) for i in range(count)]
