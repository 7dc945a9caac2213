"""The backend: the chosen GPU, its description, and measurements that watch its clocks."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from hnas import DeviceInfo, HardwareBackend, Layer, Metric, Rounds, UnsteadyError
from hnas.cost import LayerCosts
from hnas_backends.cuda.options import CUDAOptions

if TYPE_CHECKING:
    from hnas_backends.cuda.bench import Bench

METRICS = (Metric(name="latency", unit="ms", help="one forward pass of a batch, by CUDA events"),)
WATCH_EVERY_S = 5.0
"""How often the clocks are checked in a block; `nvidia-smi` takes a tenth of a second."""
OVERHEAD_S = 0.02
"""About the time to make a module and record its graph, for each layer besides measuring it."""


class CUDA(HardwareBackend):
    """Layers as PyTorch runs them on an NVIDIA GPU; see `hnas_backends.cuda`."""

    def __init__(self, options: CUDAOptions) -> None:
        self._options = options
        self._bench: Bench | None = None
        self._uuid = ""
        self._looked = 0.0

    def describe(self) -> DeviceInfo:
        import torch

        from hnas_backends.cuda.bench import Bench
        from hnas_backends.cuda.clocks import state
        from hnas_backends.cuda.selection import chosen, seen

        index = chosen(self._options.device, seen())
        gpu = torch.cuda.get_device_properties(index)
        torch.cuda.set_device(index)
        self._uuid = _uuid(gpu, index)
        now = state(self._uuid)
        self._bench = self._bench or Bench(torch.device("cuda", index), self._options)
        o = self._options
        return DeviceInfo(
            backend="cuda",
            device=gpu.name,
            runtime=f"torch {torch.__version__}",
            metrics=METRICS,
            settings={
                "capability": f"{gpu.major}.{gpu.minor}",
                "multiprocessors": gpu.multi_processor_count,
                "memory_mib": gpu.total_memory >> 20,
                "driver": now.values.get("driver"),
                "cuda": torch.version.cuda,
                "cudnn": torch.backends.cudnn.version(),  # type: ignore[no-untyped-call]
                "batch": o.batch,
                "precision": o.precision,
                "warm_cache": o.warm_cache,
                "cuda_graphs": o.cuda_graphs,
            },
            rounds=Rounds(layer_s=1e-3 * (o.warmup_ms + 1.2 * o.samples * o.sample_ms) + OVERHEAD_S),
            conditions={"index": index, **now.to_json()},
        )

    def measure(self, layers: Sequence[Layer]) -> Iterator[LayerCosts]:
        bench = self._ready()
        for layer in layers:
            found = bench.layer(layer)
            self._check_clocks(WATCH_EVERY_S)
            yield {"latency": found}
        self._check_clocks()

    def measure_network(self, layers: Sequence[Layer]) -> LayerCosts:
        found = self._ready().network(layers)
        self._check_clocks(WATCH_EVERY_S)
        return {"latency": found}

    def check_table(self, table: Mapping[str, LayerCosts], layers: Sequence[Layer]) -> Mapping[str, Any]:
        """Return which layers this process had to launch one by one: their rows hold the time of the launch."""
        if not self._options.cuda_graphs:
            return {}
        launched = self._bench.launched if self._bench else {}
        return {"not_in_graphs": {layer.key: launched[layer.key] for layer in layers if layer.key in launched}}

    def close(self) -> None:
        if self._bench is not None:
            import torch

            self._bench = None
            torch.cuda.empty_cache()

    def _ready(self) -> Bench:
        if self._bench is None:
            self.describe()
        assert self._bench is not None
        return self._bench

    def _check_clocks(self, every_s: float = 0.0) -> None:
        """Raise `UnsteadyError` if the GPU slows itself down. Check only if the last check is ``every_s`` ago."""
        from hnas_backends.cuda.clocks import state

        if time.monotonic() - self._looked < every_s:
            return
        now, self._looked = state(self._uuid), time.monotonic()
        if now.throttled:
            values = now.values
            raise UnsteadyError(
                f"cuda: the GPU slows down ({', '.join(now.throttled)}): {values.get('sm_mhz')} of "
                f"{values.get('sm_max_mhz')} MHz at {values.get('temperature_c')} °C",
                hint="let it cool down, lower its power limit or lock its clocks (`nvidia-smi --lock-gpu-clocks`), and "
                "profile again: what was measured before is kept",
            )


def _uuid(gpu: Any, index: int) -> str:
    """Return the GPU's UUID for `nvidia-smi`, or with PyTorch before 2.5 its index; both count alike by default."""
    found = getattr(gpu, "uuid", None)
    return str(index) if found is None else str(found) if str(found).startswith(("GPU-", "MIG-")) else f"GPU-{found}"
