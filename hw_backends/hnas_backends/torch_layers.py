"""Layers as PyTorch modules, for backends that measure with PyTorch.

Imports torch, so a backend imports this module only when it measures. The modules are those that a user would deploy,
one for each `Layer`. Nothing is fused or folded, so that a table's sum and a network measured end to end consist of the
same operations.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from hnas import Layer
from hnas.toolkit.activations import ACTIVATIONS
from hnas_backends.geometry import is_adaptive
from hnas_backends.layerbench.lines import connections, unknown_op


class Addition(nn.Module):
    """Add branches of a network; or to one, a map that it holds, read from memory as the other branch would be.

    The held map is made at the first call with a shape, so that call belongs in a warm-up.
    """

    def __init__(self) -> None:
        super().__init__()
        self._held: Tensor | None = None

    def forward(self, x: Tensor, *others: Tensor) -> Tensor:
        if others:
            return sum(others, x)
        if self._held is None or self._held.shape != x.shape or self._held.device != x.device:
            self._held = torch.ones_like(x)
        return x + self._held


class Concatenation(nn.Module):
    """Join the channels of branches; of a single map, which is the joined one, make a copy: the same bytes."""

    def forward(self, *parts: Tensor) -> Tensor:
        return torch.cat(parts, 1)


class Residual(nn.Module):
    """A network with branches: each part with the numbers of the values that it reads."""

    def __init__(self, parts: Sequence[nn.Module], reads: Sequence[tuple[int, ...]]) -> None:
        super().__init__()
        self._parts, self._reads = nn.ModuleList(parts), list(reads)
        last = {value: n for n, read in enumerate(reads) for value in read}
        self._forgotten = [[v for v in read if last[v] == n] for n, read in enumerate(reads)]

    def forward(self, x: Tensor) -> Tensor:
        values = {0: x}
        for n, (part, read) in enumerate(zip(self._parts, self._reads, strict=True)):
            x = values[n + 1] = part(*(values[v] for v in read))
            for value in self._forgotten[n]:  # so that its memory can be used again
                values.pop(value, None)
        return x


def module(layer: Layer) -> nn.Module:
    """Return the layer as a module on the CPU, in evaluation mode and without gradients.

    Its parameters are those that `Layer.params` counts, drawn so that maps keep their scale through a deep network,
    from a generator that depends on the layer alone. Raises `DeviceError` for an operation that is not known here.
    """
    made = _build(layer).eval().requires_grad_(False)
    if layer.op in ("conv2d", "linear"):
        made = made.to_empty(device="cpu")
    generator = torch.Generator().manual_seed(zlib.crc32(layer.key.encode()))
    for name, parameter in made.named_parameters():
        if layer.op == "norm":
            parameter.fill_(1.0 if name == "weight" else 0.0)
        else:
            fan_in = layer.kernel**2 * layer.in_shape[0] // layer.groups
            parameter.normal_(0.0, math.sqrt(2 / fan_in) if name == "weight" else 0.01, generator=generator)
    return made


def network(layers: Sequence[Layer]) -> nn.Module:
    """Return the layers as one module, connected as `lines.connections` says.

    A linear layer takes its input flattened, and gives a map unless it is the last one; a chain is an
    ``nn.Sequential``. Raises `DeviceError` if the layers make no network.
    """
    reads = connections(layers)
    parts: list[nn.Module] = []
    for n, layer in enumerate(layers, 1):
        made = module(layer)
        if layer.op == "linear":
            given = [nn.Unflatten(1, layer.out_shape)] if n < len(layers) else []
            made = nn.Sequential(nn.Flatten(), made, *given)
        parts.append(made)
    if reads == [(i,) for i in range(len(layers))]:
        return nn.Sequential(*parts).eval()
    return Residual(parts, reads).eval()


def example(layer: Layer, batch: int, device: torch.device | str, generator: torch.Generator) -> Tensor:
    """Return an input of the layer, normally distributed: (batch, C, H, W), or (batch, C) for a linear layer.

    Drawn from ``generator``, a CPU one, so that every device gets the same numbers.
    """
    shape = layer.in_shape[:1] if layer.op == "linear" else layer.in_shape
    return torch.randn(batch, *shape, generator=generator).to(device)


def _build(layer: Layer) -> nn.Module:
    """Return the module; weights have no memory yet, since torch would fill it from its global generator."""
    made: nn.Module
    match layer.op:
        case "conv2d":
            made = nn.Conv2d(
                layer.in_shape[0], layer.out_shape[0], layer.kernel, stride=layer.stride, padding=layer.padding,
                dilation=layer.dilation, groups=layer.groups, bias=layer.bias, device="meta",
            )  # fmt: skip
        case "linear":
            made = nn.Linear(layer.in_shape[0], layer.out_shape[0], bias=layer.bias, device="meta")
        case "norm":
            made = nn.BatchNorm2d(layer.out_shape[0])  # draws nothing
        case "max_pool":
            made = nn.MaxPool2d(
                layer.kernel, layer.stride, layer.padding, dilation=layer.dilation, ceil_mode=_rounds_up(layer)
            )
        case "avg_pool" if is_adaptive(layer):
            made = nn.AdaptiveAvgPool2d(layer.out_shape[1:])
        case "avg_pool":
            made = nn.AvgPool2d(layer.kernel, layer.stride, layer.padding)
        case "add":
            made = Addition()
        case "concat":
            made = Concatenation()
        case op if op in ACTIVATIONS:
            made = getattr(nn, ACTIVATIONS[op].module)()
        case _:
            raise unknown_op(layer, "PyTorch runtime")
    return made


def _rounds_up(layer: Layer) -> bool:
    """Return whether a pooling, by its shapes, keeps the pixels that fill no whole window."""
    window = layer.dilation * (layer.kernel - 1) + 1
    down = tuple((n + 2 * layer.padding - window) // layer.stride + 1 for n in layer.in_shape[1:])
    return down != layer.out_shape[1:]
