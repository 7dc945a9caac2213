"""PyTorch as a runtime: each layer a module, run eagerly by one thread. Imports torch."""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from hnas import Layer
from hnas_backends.torch_layers import example, module, network
from hnas_backends.x86.timing import Plan, Sampler


class TorchRuntime:
    """Layers as PyTorch runs them: nothing is fused, and calling a module costs what it costs."""

    ops: frozenset[str] | None = None

    def __init__(self, plan: Plan) -> None:
        self._sampler = Sampler(plan)
        self.name = f"torch {torch.__version__}"
        self.settings: Mapping[str, Any] = {
            "cpu_capability": torch.backends.cpu.get_cpu_capability(),
            "onednn": bool(torch._C._has_mkldnn),
        }
        self.conditions: Mapping[str, Any] = {}

    def layers(self, layers: Sequence[Layer]) -> Iterator[Sequence[float]]:
        """Yield the samples of each layer. Raises `DeviceError` for an operation that is not known."""
        for layer in layers:
            yield self._samples(module(layer), layer)

    def network(self, layers: Sequence[Layer]) -> Sequence[float]:
        """Return the samples of a whole network as one module."""
        return self._samples(network(layers), layers[0])

    def close(self) -> None:
        """Nothing is held."""

    def _samples(self, net: nn.Module, first: Layer) -> list[float]:
        generator = torch.Generator().manual_seed(zlib.crc32(first.key.encode()))
        x = example(first, 1, "cpu", generator)
        with torch.inference_mode(), _one_thread():
            return self._sampler.samples(lambda: net(x))


@contextmanager
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
