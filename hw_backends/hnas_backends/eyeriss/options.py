"""The options of the Eyeriss backend."""

from __future__ import annotations

from typing import Any, Literal

from attrs import Attribute, frozen, validators

from hnas import ConfigError
from hnas.errors import close_matches
from hnas.settings import at_least_0, one_of, positive, setting

DATAFLOWS = ("ws", "os", "is")


def _known_dataflow(instance: Any, attribute: Attribute[str], value: str) -> None:
    """Refuse a name that ScaleSim does not know: it would silently run ``os`` for it."""
    if value not in DATAFLOWS:
        raise ConfigError(
            f"unknown dataflow {value!r}: ScaleSim would silently run 'os' for it."
            f"{close_matches(str(value), DATAFLOWS)}",
            hint="use 'ws' (weight-stationary), 'os' (output-stationary) or 'is' (input-stationary); ScaleSim has no "
            "row-stationary dataflow",
        )


@frozen(kw_only=True)
class EyerissOptions:
    """The array, its clock, and how its cycles are found. The defaults are ScaleSim's Eyeriss preset."""

    engine: Literal["closed-form", "scalesim"] = setting(
        "closed-form",
        "closed-form: the same cycles in microseconds; scalesim: run the simulator, seconds to minutes a layer",
        one_of("closed-form", "scalesim"),
    )
    dataflow: Literal["ws", "os", "is"] = setting("ws", "what stays in the PEs: ws, os or is", _known_dataflow)
    rows: int = setting(12, "rows of PEs", positive, most=4096)
    cols: int = setting(14, "columns of PEs", positive, most=4096)
    clock_mhz: float = setting(200.0, "clock, MHz", validators.ge(1e-3), most=1e6)
    ifmap_sram_kb: int = setting(36, "SRAM for inputs, kB (engine=scalesim only)", positive)
    filter_sram_kb: int = setting(36, "SRAM for weights, kB (engine=scalesim only)", positive)
    ofmap_sram_kb: int = setting(36, "SRAM for outputs, kB (engine=scalesim only)", positive)
    check_layers: int = setting(
        12, "layers of a table that are cross-checked against ScaleSim's own compute model; 0: none", at_least_0
    )
