"""A hardware backend in user code: a roofline model of a board, without packaging.

hnas profile --backend ./examples/custom_backend.py:MyBoard --set backend.gmacs=2 --json
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from attrs import asdict, frozen

from hnas import DeviceInfo, HardwareBackend, Layer, Measurement, Metric
from hnas.cost import LayerCosts
from hnas.settings import positive, setting


class MyBoard(HardwareBackend):
    """A board whose layers take as long as their arithmetic or their memory traffic, whichever is slower."""

    @frozen(kw_only=True)
    class Options:
        """Options for ``--set backend.KEY=VALUE`` and the table ``[backend]``."""

        gmacs: float = setting(1.0, "multiply-accumulates a second, in units of 10^9", positive)
        gbytes: float = setting(0.5, "bytes moved a second, in units of 10^9", positive)

    def __init__(self, options: Options) -> None:
        self.options = options

    def describe(self) -> DeviceInfo:
        """Name the device and its metrics. A run's default limit is on the first."""
        return DeviceInfo(
            backend="my-board",
            device="a board that does not exist",
            runtime="roofline 1",  # what runs the layers; change it with the formulas: stored rows are keyed by it
            metrics=(
                Metric(name="latency", unit="ms"),  # a network takes the sum of its layers,
                Metric(name="memory", unit="KiB", combine="max"),  # and needs the memory of its largest
            ),
            settings=asdict(self.options),  # another value is another device: its rows are kept apart
        )

    def measure(self, layers: Sequence[Layer]) -> Iterator[LayerCosts]:
        """Yield each layer's costs, as a real backend would measure them on the device."""
        for layer in layers:
            moved = 4 * (math.prod(layer.in_shape) + math.prod(layer.out_shape) + layer.params)  # bytes of float32
            seconds = max(layer.macs / self.options.gmacs, moved / self.options.gbytes) / 1e9
            yield {
                "latency": Measurement(median=1e3 * seconds, unit="ms"),
                "memory": Measurement(median=moved / 1024, unit="KiB"),
            }
