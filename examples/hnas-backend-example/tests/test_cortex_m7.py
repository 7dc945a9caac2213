"""The backend conforms, predicts the published time of the board, and counts what residual blocks keep."""

from __future__ import annotations

import pytest
from hnas_backend_example.cortex_m7 import CortexM7, Options, peak_memory

from hnas import Layer
from hnas.testing import CHAIN, RESIDUAL, BackendConformance


class TestCortexM7(BackendConformance):
    options = Options
    networks = (CHAIN,)  # layers alone do not show what a residual block keeps, see below

    def make(self) -> CortexM7:
        return CortexM7(Options())


def conv(side: int, channels: int, width: int) -> Layer:
    shapes = {"in_shape": (channels, side, side), "out_shape": (width, side, side)}
    return Layer(op="conv2d", kernel=5, padding=2, bias=True, **shapes)


def pool(side: int, channels: int) -> Layer:
    shapes = {"in_shape": (channels, side, side), "out_shape": (channels, side // 2, side // 2)}
    return Layer(op="max_pool", kernel=3, stride=2, padding=1, **shapes)


CIFAR_10 = (
    conv(32, 3, 32),
    Layer(op="relu", in_shape=(32, 32, 32), out_shape=(32, 32, 32)),
    pool(32, 32),
    conv(16, 32, 32),
    Layer(op="relu", in_shape=(32, 16, 16), out_shape=(32, 16, 16)),
    pool(16, 32),
    conv(8, 32, 64),
    Layer(op="relu", in_shape=(64, 8, 8), out_shape=(64, 8, 8)),
    pool(8, 64),
    Layer(op="linear", in_shape=(64 * 16, 1, 1), out_shape=(10, 1, 1), bias=True),
)
"""The network of arXiv:1801.06601, table 1."""


def costs(layers: tuple[Layer, ...], **options: float) -> dict[str, float]:
    return {name: m.median for name, m in CortexM7(Options(**options)).measure_network(layers).items()}


def test_the_published_network_takes_about_what_was_measured():
    """99.1 ms on the board (CMSIS-NN paper); its 24.7 million operations are two for each multiply-accumulate."""
    assert 2 * sum(layer.macs for layer in CIFAR_10) == pytest.approx(24.7e6, rel=0.01)
    assert costs(CIFAR_10)["latency"] == pytest.approx(99.1, rel=0.05)
    assert costs(CIFAR_10, clock_mhz=432.0)["latency"] == pytest.approx(costs(CIFAR_10)["latency"] / 2)


def test_memory_and_flash_of_the_published_network():
    """By hand: the first convolution holds 3×32×32 and 32×32×32 bytes and two columns of 5×5×3 in 16 bit."""
    first = 3 * 32 * 32 + 32 * 32 * 32 + 2 * 2 * 75
    pooled = 32 * 32 * 32 + 32 * 16 * 16
    assert costs(CIFAR_10)["memory"] == max(first, pooled) == pooled
    weights = 75 * 32 + 800 * 32 + 800 * 64 + 1024 * 10
    assert costs(CIFAR_10)["flash"] == weights + 4 * (32 + 32 + 64 + 10)


def test_a_residual_block_keeps_its_input():
    """While the second convolution of the block runs, its input (16×6×6) is kept for the shortcut."""
    alone = max(row["memory"].median for row in CortexM7(Options()).measure(RESIDUAL))
    second = 32 * 6 * 6 + 32 * 6 * 6 + 4 * 9 * 32
    shortcut = second - 32 * 6 * 6 - 4 * 9 * 32 + 16 * 6 * 6 + 32 * 6 * 6 + 4 * 16
    assert peak_memory(RESIDUAL) == max(second + 16 * 6 * 6, shortcut) == second + 16 * 6 * 6
    assert alone == second


def test_the_record_names_what_does_not_fit():
    backend = CortexM7(Options(sram_kib=1, flash_kib=1))
    layers = [CIFAR_10[0], CIFAR_10[-1], Layer(op="relu", in_shape=(4, 8, 8), out_shape=(4, 8, 8))]
    table = {la.key: row for la, row in zip(layers, backend.measure(layers), strict=True)}
    record = backend.check_table(table, layers)
    assert record == {"limits": "memory<=1KiB,flash<=1KiB", "layers_that_do_not_fit": [la.key for la in layers[:2]]}
