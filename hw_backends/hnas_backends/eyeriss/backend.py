"""The backend: closed form or simulator, and the cross-check of a table."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from types import ModuleType
from typing import Any

from hnas import DeviceError, DeviceInfo, HardwareBackend, Layer, Measurement, Metric
from hnas.cost import LayerCosts, sum_over_layers
from hnas.toolkit.operations import OPERATIONS
from hnas_backends.eyeriss.closed_form import gemm, total_cycles
from hnas_backends.eyeriss.options import EyerissOptions

METRICS = (
    Metric(name="latency", unit="ms", help="ScaleSim's cycles at the clock given"),
    Metric(name="cycles", help="ScaleSim's Total Cycles, bandwidth met"),
)
OPS = frozenset({"conv2d", "linear"})


class Eyeriss(HardwareBackend):
    """ScaleSim's weight-stationary "Eyeriss" preset; see `hnas_backends.eyeriss` for what that is and is not."""

    def __init__(self, options: EyerissOptions) -> None:
        self._options = options

    def describe(self) -> DeviceInfo:
        o = self._options
        settings: dict[str, Any] = {"dataflow": o.dataflow, "rows": o.rows, "cols": o.cols, "clock_mhz": o.clock_mhz}
        runtime = "closed form"
        if o.engine == "scalesim":
            runtime = f"scalesim {_scalesim().VERSION}"
            settings |= {"sram_kb": [o.ifmap_sram_kb, o.filter_sram_kb, o.ofmap_sram_kb]}
        return DeviceInfo(
            backend="eyeriss",
            device=f"ScaleSim Eyeriss preset, {o.rows}x{o.cols} PEs, {o.dataflow}, {o.clock_mhz:g} MHz",
            runtime=runtime,
            metrics=METRICS,
            settings=settings,
            ops=OPS,
            free=frozenset(OPERATIONS) - OPS,
        )

    def measure(self, layers: Sequence[Layer]) -> Iterator[LayerCosts]:
        for layer in layers:
            cycles = self._cycles(layer)
            yield {
                "latency": Measurement(median=cycles / (self._options.clock_mhz * 1e3), unit="ms"),
                "cycles": Measurement(median=float(cycles)),
            }

    def measure_network(self, layers: Sequence[Layer]) -> LayerCosts:
        """Return the sum over the layers: the array runs them one after another, and nothing else costs anything."""
        return sum_over_layers(self, layers)

    def check_table(self, table: Mapping[str, LayerCosts], layers: Sequence[Layer]) -> Mapping[str, Any]:
        """Compare a sample of the table with ScaleSim's own compute model; raise `DeviceError` if they differ."""
        sample = self._sample(layers)
        record = {"engine": self._options.engine, "layers_checked": len(sample), "mismatches": 0}
        if not sample:
            return record
        scalesim = _scalesim()
        for layer in sample:
            seen, expected = table[layer.key]["cycles"].median, scalesim.compute_model_cycles(layer, self._options)
            if seen != expected:
                raise DeviceError(
                    f"the cost table says {seen:.0f} cycles for {layer.key}; the compute model of ScaleSim "
                    f"{scalesim.VERSION} gives {expected} ({self._options.dataflow}, "
                    f"{self._options.rows}x{self._options.cols} PEs)",
                    hint="if these rows came from the cache, move it away and profile again; otherwise this version of "
                    "ScaleSim differs from those known here (2.0.2, 3.0.0): use one of them, or "
                    "backend.engine=scalesim; backend.check_layers=0 turns this check off",
                )
        return record | {"against": "ScaleSim's compute model", "scalesim_version": scalesim.VERSION}

    def _cycles(self, layer: Layer) -> int:
        if self._options.engine == "scalesim":
            cycles: int = _scalesim().simulate(layer, self._options)
            return cycles
        return self._closed_form(layer)

    def _closed_form(self, layer: Layer) -> int:
        o = self._options
        return total_cycles(gemm(layer), dataflow=o.dataflow, rows=o.rows, cols=o.cols)

    def _sample(self, layers: Sequence[Layer]) -> list[Layer]:
        """Pick layers from the whole range of sizes, small ones more often: a check takes longer with more cycles.

        The same table always gives the same ones: in order of size, at the squares of evenly spaced positions.
        """
        wanted, ordered = self._options.check_layers, sorted(layers, key=lambda la: (self._closed_form(la), la.key))
        if wanted >= len(ordered):
            return ordered
        return [ordered[i] for i in sorted({int(len(ordered) * (j / wanted) ** 2) for j in range(wanted)})]


def _scalesim() -> ModuleType:
    """Import the adapter, and with it scalesim and numpy, when they are first needed."""
    try:
        from hnas_backends.eyeriss import scalesim_engine
    except ImportError as cause:
        raise DeviceError(
            f"eyeriss: cannot import ScaleSim: {cause}",
            hint="pip install scalesim, or use backend.engine=closed-form with backend.check_layers=0",
        ) from cause
    return scalesim_engine
