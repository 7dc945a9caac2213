"""The options of the row-stationary Eyeriss model."""

from __future__ import annotations

from typing import Literal

from attrs import frozen

from hnas.settings import one_of, positive, setting


@frozen(kw_only=True)
class EyerissRSOptions:
    """What the chip leaves open: its batch and clocks, and by what a mapping is chosen. Defaults are as measured."""

    batch: int = setting(1, "images processed together; all costs are those of one image", positive)
    minimise: Literal["energy-delay", "energy", "latency"] = setting(
        "energy-delay",
        "by what the mapping of each layer is chosen: energy-delay (their product), energy or latency",
        one_of("energy-delay", "energy", "latency"),
    )
    dram: Literal["exposed", "overlapped"] = setting(
        "exposed",
        "exposed: the array waits for DRAM, the chip's total latency; overlapped: its processing latency",
        one_of("exposed", "overlapped"),
    )
    clock_mhz: float = setting(200.0, "clock of the array, MHz", positive)
    link_mhz: float = setting(60.0, "clock of the 64-bit DRAM link, MHz (dram=exposed only)", positive)
