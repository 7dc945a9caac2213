"""The backend: this machine's processor, with one of three runtimes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Protocol

from hnas import DeviceError, DeviceInfo, HardwareBackend, Layer, Measurement, Metric, Rounds
from hnas.cost import LayerCosts
from hnas.toolkit.dataflow import connects
from hnas_backends.x86 import processor
from hnas_backends.x86.options import X86Options

METRICS = (Metric(name="latency", unit="ms", help="one image, one thread, pinned to one core"),)
OVERHEAD_MS = 12.0
"""About the time for each layer to warm up and to find how often it fits into a sample."""


class Runtime(Protocol):
    """Runs layers and whole networks on one core. All times are in ms, for one image."""

    name: str
    """The name with its version: it keys the cost table."""
    settings: Mapping[str, Any]
    """Whatever else of the runtime changes a latency."""
    conditions: Mapping[str, Any]
    """What was observed of it, for the record."""
    ops: frozenset[str] | None
    """The operations that have a row of their own; ``None``: all."""

    def layers(self, layers: Sequence[Layer]) -> Iterator[Sequence[float]]:
        """Yield the samples of each layer, in order. Raises `DeviceError`."""

    def network(self, layers: Sequence[Layer]) -> Sequence[float]:
        """Return the samples of a network of layers, end to end. Raises `DeviceError`."""

    def close(self) -> None:
        """Release all resources. May be called twice."""


class X86(HardwareBackend):
    """Layers on this machine's processor; see `hnas_backends.x86`."""

    def __init__(self, options: X86Options) -> None:
        self._options = options
        self._runtime: Runtime | None = None

    def describe(self) -> DeviceInfo:
        o = self._options
        processor.check_machine()
        core = processor.chosen_core(o.device)
        self._refuse_load()
        runtime = self._ready()
        return DeviceInfo(
            backend="x86",
            device=f"{processor.model()}, core {core}",
            runtime=runtime.name,
            metrics=METRICS,
            settings={**runtime.settings, "threads": 1, "flush_mb": o.flush_mb},
            ops=runtime.ops,
            rounds=Rounds(count=o.rounds, layer_s=1e-3 * (1.1 * o.samples * o.sample_ms + OVERHEAD_MS)),
            conditions={**processor.conditions(core), **runtime.conditions},
        )

    def measure(self, layers: Sequence[Layer]) -> Iterator[LayerCosts]:
        for samples in self._ready().layers(layers):
            yield {"latency": Measurement.of(samples, "ms")}

    def measure_network(self, layers: Sequence[Layer]) -> LayerCosts | None:
        """Return the latency of the whole network, or ``None`` if its layers do not make one."""
        if not connects(layers):
            return None
        return {"latency": Measurement.of(self._ready().network(layers), "ms")}

    def close(self) -> None:
        if self._runtime is not None:
            self._runtime.close()
            self._runtime = None

    def _ready(self) -> Runtime:
        if self._runtime is None:
            self._runtime = _runtime(self._options, processor.chosen_core(self._options.device))
        return self._runtime

    def _refuse_load(self) -> None:
        load, most = processor.load_per_core(), self._options.max_load
        if most and load is not None and load > most:
            raise DeviceError(
                f"the load of this machine is {load:.2f} per core, more than backend.max_load={most:g}: other work "
                "here would be measured as well",
                hint="end what else runs, or wait; backend.max_load=0 measures anyway, and notes the load",
            )


def _runtime(options: X86Options, core: int) -> Runtime:
    """Return the runtime that the options name. Raises `DeviceError` if a requirement of it is missing."""
    if options.runtime == "c":
        from hnas_backends.x86.c_runtime import CRuntime

        return CRuntime(options, core)
    if options.runtime == "torch":
        from hnas_backends.x86.torch_runtime import TorchRuntime  # it imports torch

        return TorchRuntime(options, core)
    try:
        from hnas_backends.x86.onnx_runtime import OnnxRuntime  # it imports onnx and onnxruntime
    except ImportError as cause:
        raise DeviceError(
            f"backend.runtime=onnxruntime needs onnx and onnxruntime, and they cannot be imported: {cause}",
            hint="pip install 'hnas[onnx]', or use --set backend.runtime=c or torch",
        ) from cause
    return OnnxRuntime(options, core)
