"""A backend that prices a layer in no time, for tests of whole runs; its options say how."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from attrs import asdict, frozen

from hnas import DeviceInfo, HardwareBackend, Layer, Measurement, Metric
from hnas.cost import LayerCosts


class TinyBoard(HardwareBackend):
    """Takes ``ns`` for a multiply-accumulate."""

    @frozen(kw_only=True)
    class Options:
        ns: float = 1.0

    def __init__(self, options: Options) -> None:
        self.options = options

    def describe(self) -> DeviceInfo:
        metrics = (Metric(name="latency", unit="us"),)
        return DeviceInfo(backend="tiny", device="board", runtime="1", metrics=metrics, settings=asdict(self.options))

    def measure(self, layers: Sequence[Layer]) -> Iterator[LayerCosts]:
        for layer in layers:
            yield {"latency": Measurement(median=1e-3 * self.options.ns * (1 + layer.macs), unit="us")}
