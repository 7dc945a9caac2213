"""The super-net of the ResNet12 space: the weights of its largest network, shared by all."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from copy import copy
from functools import partial

import torch
from torch import Tensor

from hnas import Architecture, NormStats, SearchSpace, SuperNet
from hnas.layer import Shape
from hnas.supernet import Params, Role
from hnas_plugins.engine import blocks as engine
from hnas_plugins.engine.descent import Unit, descend_by_name
from hnas_plugins.spaces.blocks import passes
from hnas_plugins.spaces.blocks.conv_layers import ACTIVATIONS as NAMES
from hnas_plugins.spaces.blocks.conv_layers import KERNELS, check_task
from hnas_plugins.spaces.blocks.drop_block import DropBlock
from hnas_plugins.spaces.blocks.plain import ACTIVATIONS, centre
from hnas_plugins.spaces.resnet12.geometry import BLOCKS, CONVOLUTIONS, Geometry, ResidualBlock


class ResNet12SuperNet(SuperNet):
    """Share weights by the first n channels of input and output and the centre crop of the kernel.

    Parameters, for block b and convolution i: ``conv{b}_{i}.weight`` (O, C, 5, 5) and ``conv{b}_short.weight``
    (O, C, 1, 1), each with ``norm….weight`` and ``norm….bias`` (O,); ``fc.weight`` (n_way, C, pool²) and ``fc.bias``
    (n_way,). The shortcut's normalisation goes with the activation that follows the addition.

    Convolutions have no bias here, because a normalisation by batch statistics cancels it; `ResNet12.layers` counts
    one, as a deployed network has it.
    """

    task_batched = True

    def __init__(self, space: SearchSpace, geometry: Geometry, input_shape: Shape, n_way: int) -> None:
        check_task(space.name, input_shape, n_way)
        engine.prepare()
        self._space, self._geometry = space, geometry
        self.largest = space.largest()
        self._task = (input_shape, n_way)
        self._pool = geometry.options.pool
        self._drop: DropBlock | None = None
        self._by_activation = geometry.options.norms == "activation"
        self._shapes: dict[str, tuple[int, ...]] = {}
        self._fans: dict[str, tuple[int, int]] = {}
        """Of each convolution in the reference network: fan-in and fan-out."""
        channels, base = input_shape[0], input_shape[0]
        for b in range(BLOCKS):
            own = geometry.base(b)
            widest = max(geometry.widths(b, CONVOLUTIONS - 1))
            self._add(f"{b + 1}_short", widest, channels, 1, (base, own))
            for i in range(CONVOLUTIONS):
                width = max(geometry.widths(b, i))
                self._add(f"{b + 1}_{i + 1}", width, channels, max(KERNELS), (9 * base, 9 * own))
                channels, base = width, own
        self._fans["fc.weight"] = (base * self._pool**2, n_way)
        self._shapes |= {"fc.weight": (n_way, channels, self._pool**2), "fc.bias": (n_way,)}

    def _add(self, name: str, width: int, channels: int, kernel: int, fans: tuple[int, int]) -> None:
        self._fans[f"conv{name}.weight"] = fans
        self._shapes[f"conv{name}.weight"] = (width, channels, kernel, kernel)
        norm = (len(NAMES), width) if self._by_activation else (width,)
        self._shapes[f"norm{name}.weight"] = self._shapes[f"norm{name}.bias"] = norm

    def with_drop_block(self, rate: float, generators: Sequence[torch.Generator]) -> ResNet12SuperNet:
        """Drop blocks of the output of the last two blocks, as is usual for this network."""
        dropping = copy(self)
        dropping._drop = DropBlock(rate=rate, generators=tuple(generators))
        return dropping

    @property
    def roles(self) -> Mapping[str, Role]:
        return {n: "norm" if n.startswith("norm") else "weight" for n in self._shapes}

    def init(self, generator: torch.Generator) -> Params:
        """Draw Xavier-uniform weights, with the bounds of the reference network's fans; biases 0, gamma 1, beta 0."""
        params = {}
        for name, shape in self._shapes.items():
            if name in self._fans:
                bound = math.sqrt(6 / sum(self._fans[name]))
                params[name] = torch.empty(shape).uniform_(-bound, bound, generator=generator)
            else:
                params[name] = torch.zeros(shape) if name.endswith(".bias") else torch.ones(shape)
        return params

    def macs(self, arch: Architecture) -> int:
        return sum(layer.macs for layer in self._space.layers(arch, *self._task))

    def share(self, params: Params, arch: Architecture) -> Params:
        """Return views of ``params``: the super-net's, or those of any network that has as much of each tensor."""
        shared: Params = {}
        channels = params["conv1_1.weight"].shape[-3]

        def take(name: str, width: int, channels: int, kernel: int, activation: str) -> None:
            shared[f"conv{name}.weight"] = centre(params[f"conv{name}.weight"][..., :width, :channels, :, :], kernel)
            for part in ("weight", "bias"):
                rows = params[f"norm{name}.{part}"]
                if self._by_activation:
                    rows = rows[..., NAMES.index(activation), :]
                shared[f"norm{name}.{part}"] = rows[..., :width]

        for b, block in enumerate(self._geometry.blocks(arch), 1):
            take(f"{b}_short", block.width, channels, 1, block.convolutions[-1].activation)
            for i, c in enumerate(block.convolutions, 1):
                take(f"{b}_{i}", c.width, channels, c.kernel, c.activation)
                channels = c.width
        shared["fc.weight"], shared["fc.bias"] = params["fc.weight"][..., :channels, :], params["fc.bias"]
        return shared

    def fan_ratios(self, arch: Architecture) -> Mapping[str, float]:
        """Return the ratio of each layer's fan-in to that of the reference network (3×3, scale 1)."""
        (channels, _, _), _ = self._task
        ratios = {}
        for b, block in enumerate(self._geometry.blocks(arch), 1):
            ratios[f"conv{b}_short.weight"] = channels / self._fans[f"conv{b}_short.weight"][0]
            for i, c in enumerate(block.convolutions, 1):
                ratios[f"conv{b}_{i}.weight"] = c.kernel**2 * channels / self._fans[f"conv{b}_{i}.weight"][0]
                channels = c.width
        return ratios | {"fc.weight": channels * self._pool**2 / self._fans["fc.weight"][0]}

    def forward(self, shared: Params, x: Tensor, arch: Architecture, *, stats: NormStats | None = None) -> Tensor:
        """Return the logits (N, n_way). Statistics are named ``norm1_1`` … ``norm4_3`` and ``norm1_short`` …."""
        return passes.forward(partial(self._features, arch), shared, x, self._pool, stats)

    def forward_tasks(self, shared: Params, x: Tensor, arch: Architecture, *, stats: NormStats | None = None) -> Tensor:
        """Return the logits (T, N, n_way): all tasks at once."""
        return passes.forward_tasks(partial(self._features, arch), shared, x, self._pool, stats)

    def descend(
        self,
        weights: Params,
        norms: Sequence[Params],
        rates: Mapping[str, Tensor],
        x: Tensor,
        y: Tensor,
        arch: Architecture,
        *,
        stats: Sequence[NormStats] | None = None,
        gradients: dict[str, Tensor] | None = None,
    ) -> Params:
        """Go down as the interface says; with the engine, without autograd. Dropped blocks need autograd."""
        if self._drop is not None or not engine.usable(x, stats[0] if stats else None):
            return super().descend(weights, norms, rates, x, y, arch, stats=stats, gradients=gradients)
        units: dict[str, Unit] = {}
        for b, block in enumerate(self._geometry.blocks(arch), 1):
            given = len(units) - 1  # what the block reads: the last unit of the one before, or the images
            for i, c in enumerate(block.convolutions, 1):
                activation = None if i == CONVOLUTIONS else c.activation
                units[f"{b}_{i}"] = Unit(kernel=c.kernel, stride=1 if i > 1 else 2, activation=activation)
            after = block.convolutions[-1].activation
            units[f"{b}_short"] = Unit(
                kernel=1, stride=2, activation=None, source=given, joins=len(units) - 1, after=after
            )
        return descend_by_name(units, weights, norms, rates, x, y, self._pool, stats=stats, gradients=gradients)

    def _features(
        self, arch: Architecture, block_of: Callable[..., Tensor], shared: Params, x: Tensor, stats: NormStats | None
    ) -> Tensor:
        """Return the last feature map."""

        def convolve(x: Tensor, name: str, stride: int, activation: str | None) -> Tensor:
            return block_of(
                x,
                shared[f"conv{name}.weight"],
                shared[f"norm{name}.weight"],
                shared[f"norm{name}.bias"],
                activation=activation,
                stride=stride,
                max_pool=False,
                norm=f"norm{name}",
                stats=stats,
            )

        for b, block in enumerate(self._geometry.blocks(arch), 1):
            x = self._residual(convolve, x, b, block)
            if self._drop is not None and b > BLOCKS - 2:
                x = x * self._drop.mask(x, tasks_first=block_of is engine.conv_norm_activation)
        return x

    @staticmethod
    def _residual(convolve: Callable[..., Tensor], x: Tensor, b: int, block: ResidualBlock) -> Tensor:
        first, second, last = (c.activation for c in block.convolutions)
        y = convolve(x, f"{b}_1", 2, first)
        y = convolve(y, f"{b}_2", 1, second)
        y = convolve(y, f"{b}_3", 1, None)
        return ACTIVATIONS[last](y + convolve(x, f"{b}_short", 2, None))
