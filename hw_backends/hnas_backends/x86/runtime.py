"""What the backend asks of a runtime."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Protocol

from hnas import DeviceError, Layer
from hnas_backends.x86.options import X86Options
from hnas_backends.x86.timing import Plan


class Runtime(Protocol):
    """Runs layers and whole networks on one core. All times are in ms, for one image."""

    name: str
    """With its version: it keys the cost table."""
    settings: Mapping[str, Any]
    """Whatever else of the runtime changes a latency."""
    conditions: Mapping[str, Any]
    """What was seen of it, for the record."""
    ops: frozenset[str] | None
    """The operations that have a row of their own; ``None``: all."""

    def layers(self, layers: Sequence[Layer]) -> Iterator[Sequence[float]]:
        """Yield the samples of each layer, in order. Raises `DeviceError`."""

    def network(self, layers: Sequence[Layer]) -> Sequence[float]:
        """Return the samples of a network of layers, end to end. Raises `DeviceError`."""

    def close(self) -> None:
        """Let go of what is held. May be called twice."""


def make_runtime(options: X86Options, plan: Plan) -> Runtime:
    """Return the runtime that the options name. Raises `DeviceError` where what it needs is missing."""
    if options.runtime == "c":
        from hnas_backends.x86.c_runtime import CRuntime

        return CRuntime(plan)
    if options.runtime == "torch":
        from hnas_backends.x86.torch_runtime import TorchRuntime  # it imports torch

        return TorchRuntime(plan)
    try:
        from hnas_backends.x86.onnx_runtime import OnnxRuntime  # it imports onnx and onnxruntime
    except ImportError as cause:
        raise DeviceError(
            f"backend.runtime=onnxruntime needs onnx and onnxruntime, and they cannot be imported: {cause}",
            hint="pip install 'hnas[onnx]', or use --set backend.runtime=c or torch",
        ) from cause
    return OnnxRuntime(plan)
