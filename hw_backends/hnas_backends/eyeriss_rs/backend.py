"""The backend: the best mapping of each layer, and what it costs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Literal

from attrs import frozen, validators

from hnas import DeviceInfo, HardwareBackend, Layer, Measurement, Metric
from hnas.cost import LayerCosts, sum_over_layers
from hnas.settings import one_of, positive, setting
from hnas.toolkit.operations import OPERATIONS
from hnas_backends.eyeriss_rs import chip
from hnas_backends.eyeriss_rs.shape import OPS, shape_of

METRICS = (
    Metric(name="latency", unit="ms", help="estimated time of one image at the clock given"),
    Metric(name="cycles", help="core cycles of one image"),
    Metric(name="energy", help="estimated energy of one image, DRAM included, in units of one 16-bit MAC"),
)
MODEL = "row-stationary model 1"
"""Increased whenever a number of the model changes, so that cached rows of an older one are not used."""


@frozen(kw_only=True)
class EyerissRSOptions:
    """The free parameters: batch, clocks, and the goal by which a mapping is chosen. Defaults are as measured."""

    batch: int = setting(1, "images processed together; all costs are those of one image", positive, most=4096)
    minimise: Literal["energy-delay", "energy", "latency"] = setting(
        "energy-delay",
        "quantity by which the mapping of each layer is chosen: energy-delay (their product), energy or latency",
        one_of("energy-delay", "energy", "latency"),
    )
    dram: Literal["exposed", "overlapped"] = setting(
        "exposed",
        "exposed: the array waits for DRAM, the chip's total latency; overlapped: its processing latency",
        one_of("exposed", "overlapped"),
    )
    clock_mhz: float = setting(200.0, "clock of the array, MHz", validators.ge(1e-3), most=1e6)
    link_mhz: float = setting(
        60.0, "clock of the 64-bit DRAM link, MHz (dram=exposed only)", validators.ge(1e-3), most=1e6
    )


class EyerissRS(HardwareBackend):
    """The row-stationary Eyeriss chip as an analytic model; see `hnas_backends.eyeriss_rs` for how far to trust it."""

    def __init__(self, options: EyerissRSOptions) -> None:
        self._options = options

    def describe(self) -> DeviceInfo:
        o = self._options
        settings: dict[str, Any] = {
            "batch": o.batch,
            "minimise": o.minimise,
            "dram": o.dram,
            "clock_mhz": float(o.clock_mhz),
        }
        if o.dram == "exposed":
            settings["link_mhz"] = float(o.link_mhz)
        return DeviceInfo(
            backend="eyeriss-rs",
            device=f"Eyeriss (JSSC 2017), {chip.ROWS}x{chip.COLUMNS} PEs, row-stationary, {o.clock_mhz:g} MHz",
            runtime=MODEL,
            metrics=METRICS,
            settings=settings,
            ops=OPS,
            free=frozenset(OPERATIONS) - OPS,
        )

    def measure(self, layers: Sequence[Layer]) -> Iterator[LayerCosts]:
        from hnas_backends.eyeriss_rs.search import best  # needs numpy, which showing the options should not load

        o = self._options
        link_words = chip.LINK_BUS * o.link_mhz / o.clock_mhz if o.dram == "exposed" else 0.0
        for layer in layers:
            found = best(shape_of(layer, o.batch), o.minimise, link_words)
            times = layer.groups / o.batch
            cycles = found.cycles * times
            yield {
                "latency": Measurement(median=cycles / (o.clock_mhz * 1e3), unit="ms"),
                "cycles": Measurement(median=cycles),
                "energy": Measurement(median=found.energy * times),
            }

    def measure_network(self, layers: Sequence[Layer]) -> LayerCosts:
        """Return the sum over the layers: the chip runs them one after another, each from DRAM to DRAM."""
        return sum_over_layers(self, layers)
