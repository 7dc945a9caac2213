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
from hnas_backends.x86.options import X86Options
from hnas_backends.x86.timing import Sampler, Work

MAP, VECTOR = (8, 8, 8), (8, 1, 1)
COMPANY = (
    Layer(op="conv2d", in_shape=MAP, out_shape=MAP, kernel=3, padding=1, bias=True),
    Layer(op="norm", in_shape=MAP, out_shape=MAP),
    Layer(op="relu", in_shape=MAP, out_shape=MAP),
    Layer(op="avg_pool", in_shape=MAP, out_shape=VECTOR, kernel=8),
    Layer(op="linear", in_shape=VECTOR, out_shape=(5, 1, 1), bias=True),
)
"""A small network that runs before each run of a layer. The cost of a small layer is PyTorch's own code, which takes
about twice as long after other operations, as in a network, as after the same one."""


class TorchRuntime:
    """Layers as PyTorch runs them: nothing is fused, and calling a module costs as much as within a network."""

    ops: frozenset[str] | None = None

    def __init__(self, options: X86Options, core: int) -> None:
        self._sampler = Sampler(options, core)
        self.name = f"torch {torch.__version__}"
        self.settings: Mapping[str, Any] = {
            "cpu_capability": torch.backends.cpu.get_cpu_capability(),
            "onednn": bool(torch._C._has_mkldnn),
            "company": [layer.key for layer in COMPANY],
        }
        self.conditions: Mapping[str, Any] = {}

    def layers(self, layers: Sequence[Layer]) -> Iterator[Sequence[float]]:
        """Yield the samples of each layer. Raises `DeviceError` for an operation that is not known."""
        company, x = network(COMPANY), _input(COMPANY[0])
        for layer in layers:
            yield self._samples(module(layer), layer, lambda: company(x))

    def network(self, layers: Sequence[Layer]) -> Sequence[float]:
        """Return the samples of a whole network as one module."""
        return self._samples(network(layers), layers[0])

    def close(self) -> None:
        """Nothing is held."""

    def _samples(self, net: nn.Module, first: Layer, between: Work | None = None) -> list[float]:
        x = _input(first)
        with torch.inference_mode(), _one_thread():
            return self._sampler.samples(lambda: net(x), between)


def _input(layer: Layer) -> torch.Tensor:
    return example(layer, 1, "cpu", torch.Generator().manual_seed(zlib.crc32(layer.key.encode())))


@contextmanager
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
