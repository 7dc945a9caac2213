"""A Cortex-M7 microcontroller that runs int8 networks with CMSIS-NN's kernels, as a roofline model.

The defaults are an STM32F746. The README lists the source of each number, and the assumptions.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from attrs import frozen

from hnas import DeviceInfo, HardwareBackend, Layer, Measurement, Metric
from hnas.cost import LayerCosts, sum_over_layers
from hnas.layer import Shape
from hnas.settings import at_least_0, positive, setting
from hnas.toolkit.dataflow import dataflow

BIAS_BYTES = 4
COLUMN_BYTES = 2  # CMSIS-NN widens int8 to 16 bit for its dual multiply-accumulate
COLUMNS = 2  # of the image-to-column matrix at a time
WEIGHTED = ("conv2d", "linear")
MOVED = (*WEIGHTED, "max_pool", "avg_pool", "concat")
"""Operations that do not work in place; all others do."""


@frozen(kw_only=True)
class Options:
    """Options for ``--set backend.KEY=VALUE`` and the table ``[backend]``."""

    clock_mhz: float = setting(216.0, "clock, MHz", positive)
    macs_per_cycle: float = setting(0.58, "multiply-accumulates in a cycle, as measured over whole networks", positive)
    bytes_per_cycle: float = setting(2.0, "bytes read or written in a cycle", positive)
    call_cycles: float = setting(2000.0, "cycles of a layer's call, besides its work", at_least_0)
    sram_kib: int = setting(320, "SRAM for activations, KiB; see `memory<=…` in the record", positive)
    flash_kib: int = setting(1024, "flash for weights, KiB; see `flash<=…` in the record", positive)


class CortexM7(HardwareBackend):
    """A layer takes as long as its arithmetic or its traffic, whichever is slower; memory and flash are bytes."""

    def __init__(self, options: Options) -> None:
        self._options = options

    def describe(self) -> DeviceInfo:
        o = self._options
        return DeviceInfo(
            backend="cortex-m7",
            device=f"Cortex-M7, {o.clock_mhz:g} MHz, {o.sram_kib} KiB SRAM, {o.flash_kib} KiB flash",
            runtime="CMSIS-NN int8, roofline 1",
            metrics=(
                Metric(name="latency", unit="ms", help="one image"),
                Metric(name="memory", unit="B", combine="max", help="activations at once; residual blocks: too low"),
                Metric(name="flash", unit="B", help="weights and biases"),
            ),
            # The size of the memory changes no measurement, so it is no setting: rows are shared.
            settings={
                "clock_mhz": o.clock_mhz,
                "macs_per_cycle": o.macs_per_cycle,
                "bytes_per_cycle": o.bytes_per_cycle,
                "call_cycles": o.call_cycles,
            },
            conditions={"limits": self._limits},
        )

    def measure(self, layers: Sequence[Layer]) -> Iterator[LayerCosts]:
        for layer in layers:
            yield {
                "latency": Measurement(median=self._cycles(layer) / (1e3 * self._options.clock_mhz), unit="ms"),
                "memory": Measurement(median=float(_memory(layer)), unit="B"),
                "flash": Measurement(median=float(_flash(layer)), unit="B"),
            }

    def measure_network(self, layers: Sequence[Layer]) -> LayerCosts:
        """Return latency and flash as sums, and the memory with what residual blocks keep for later."""
        peak = Measurement(median=float(peak_memory(layers)), unit="B")
        return {**sum_over_layers(self, layers), "memory": peak}

    def check_table(self, table: Mapping[str, LayerCosts], layers: Sequence[Layer]) -> Mapping[str, Any]:
        """Record the layers that do not fit on their own, and the limits under which a network does."""
        room = {"memory": 1024 * self._options.sram_kib, "flash": 1024 * self._options.flash_kib}
        too_large = [la.key for la in layers if any(table[la.key][name].median > most for name, most in room.items())]
        return {"limits": self._limits, "layers_that_do_not_fit": too_large}

    @property
    def _limits(self) -> str:
        return f"memory<={self._options.sram_kib}KiB,flash<={self._options.flash_kib}KiB"

    def _cycles(self, layer: Layer) -> float:
        if layer.op == "norm":
            return 0.0  # folded into the convolution before it
        moved = _numbers(layer.in_shape) * (2 if layer.op == "add" else 1) + _numbers(layer.out_shape) + _flash(layer)
        work = layer.macs / self._options.macs_per_cycle, moved / self._options.bytes_per_cycle
        return max(work) + self._options.call_cycles


def peak_memory(layers: Sequence[Layer]) -> int:
    """Return the bytes of activations and buffers that a network needs at once, in the order of its layers.

    A value is kept until the last layer that reads it, such as the input of a residual block until its shortcut.
    """
    reads = dataflow(layers)
    size = [_numbers(layers[0].in_shape), *(_numbers(la.out_shape) for la in layers)]
    last_read = {value: n for n, values in enumerate(reads) for value in values}
    peak = 0
    for n, (layer, values) in enumerate(zip(layers, reads, strict=True)):
        # Value n + 1 is the output of layer n. Those read later stay, and those that it reads are still there.
        kept = [v for v in range(n + 1) if last_read.get(v, -1) > n]
        needed = sum(size[v] for v in {*kept, *values})
        in_place = layer.op not in MOVED and values[0] not in kept
        peak = max(peak, needed + (0 if in_place else size[n + 1]) + _buffer(layer))
    return peak


def _memory(layer: Layer) -> int:
    """Return the bytes that a layer needs while it runs, if nothing else is kept for later."""
    given = _numbers(layer.in_shape) * (2 if layer.op == "add" else 1)
    return given + (_numbers(layer.out_shape) if layer.op in MOVED else 0) + _buffer(layer)


def _buffer(layer: Layer) -> int:
    if layer.op == "conv2d":
        return COLUMNS * COLUMN_BYTES * layer.kernel**2 * layer.in_shape[0] // layer.groups
    return COLUMN_BYTES * _numbers(layer.in_shape) if layer.op == "linear" else 0


def _flash(layer: Layer) -> int:
    """Return the bytes of a layer's int8 weights and 32-bit biases; a convolution gets one when a norm is folded in."""
    if layer.op not in WEIGHTED:
        return 0
    weights = layer.params - (layer.out_shape[0] if layer.bias else 0)
    return weights + BIAS_BYTES * layer.out_shape[0]


def _numbers(shape: Shape) -> int:
    return math.prod(shape)
