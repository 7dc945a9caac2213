"""Run layers and networks on one device, and time them: everything between a `Layer` and its samples."""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from hnas import DeviceError, Layer, Measurement
from hnas_backends.cuda.options import CUDAOptions
from hnas_backends.cuda.timing import event_lap, host_lap, latencies
from hnas_backends.torch_layers import example, module, network
from hnas_backends.x86.timing import Work

GRAPH_RUNS = 20
"""Runs in one graph: starting a graph takes some µs, which must be small compared with its content."""
GRAPH_WARM_UP = 3
"""Runs before recording: libraries choose their algorithms, and one-time allocations are done."""
FLUSH_BYTES = 256 << 20
"""Bytes written to empty the L2 cache if its size is not reported; the largest existing one has half as much."""


class Bench:
    """One device, with options. Works on the CPU as well, without graphs; so tests need no GPU."""

    def __init__(self, device: torch.device, options: CUDAOptions) -> None:
        self._device, self._options = device, options
        self._lap = event_lap if device.type == "cuda" else host_lap
        self._flushed: Tensor | None = None
        self.launched: dict[str, str] = {}
        """Layers and networks that could not be recorded in a graph, and why."""

    def layer(self, layer: Layer) -> Measurement:
        """Measure one layer: ms for a batch. Raises `DeviceError`."""
        return self._measure(layer.key, module(layer), layer)

    def network(self, layers: Sequence[Layer]) -> Measurement:
        """Measure a whole network in the same way. Raises `DeviceError`."""
        return self._measure("network of " + ", ".join(la.key for la in layers), network(layers), layers[0])

    def _measure(self, name: str, net: nn.Module, first: Layer) -> Measurement:
        generator = torch.Generator().manual_seed(zlib.crc32(name.encode()))
        try:
            with torch.inference_mode(), _exact(self._options.precision != "tf32"):
                net, x = net.to(self._device), example(first, self._options.batch, self._device, generator)
                return Measurement.of(self._samples(name, lambda: net(x)), "ms")
        except torch.cuda.OutOfMemoryError as cause:
            raise DeviceError(
                f"cuda: no memory left for a batch of {self._options.batch} of {name[:200]}: {str(cause)[:200]}",
                hint="set a smaller backend.batch, or end what else uses the GPU (`nvidia-smi` lists it)",
            ) from cause

    def _samples(self, name: str, run: Work) -> list[float]:
        between = None if self._options.warm_cache else self._flush
        work, runs = run, 1
        if self._options.cuda_graphs and self._device.type == "cuda":
            in_graph = GRAPH_RUNS if between is None else 1
            try:
                work, runs = recorded(run, in_graph), in_graph
            except RuntimeError as cause:  # an operation that waits for the processor cannot be recorded
                if isinstance(cause, torch.cuda.OutOfMemoryError):
                    raise
                self.launched[name] = str(cause).partition("\n")[0]
        return [ms / runs for ms in latencies(work, self._lap, self._options, between)]

    @torch.inference_mode()
    def _flush(self) -> None:
        """Write more than the L2 cache holds."""
        if self._flushed is None:
            size = FLUSH_BYTES
            if self._device.type == "cuda":
                size = 2 * getattr(torch.cuda.get_device_properties(self._device), "L2_cache_size", 0) or FLUSH_BYTES
            self._flushed = torch.empty(size, dtype=torch.uint8, device=self._device)
        self._flushed.zero_()


def recorded(run: Work, runs: int) -> Work:
    """Return the replay of a CUDA graph that holds ``runs`` of ``run``. Raises `RuntimeError` if that is impossible."""
    aside = torch.cuda.Stream()  # type: ignore[no-untyped-call]
    aside.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(aside):
        for _ in range(GRAPH_WARM_UP):
            run()
    torch.cuda.current_stream().wait_stream(aside)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        for _ in range(runs):
            run()
    return graph.replay


@contextmanager
def _exact(exact: bool) -> Iterator[None]:
    """Compute float32 products exactly, or with TF32; PyTorch's own default is TF32 for convolutions only.

    cuDNN selects algorithms by its rules, as by default, since trying them out may end differently in each round.
    """
    cudnn, matmul = torch.backends.cudnn, torch.backends.cuda.matmul
    before = cudnn.allow_tf32, cudnn.benchmark, matmul.allow_tf32
    cudnn.allow_tf32, cudnn.benchmark, matmul.allow_tf32 = not exact, False, not exact
    try:
        yield
    finally:
        cudnn.allow_tf32, cudnn.benchmark, matmul.allow_tf32 = before
