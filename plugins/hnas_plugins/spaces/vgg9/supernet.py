"""The super-net of the VGG9 space: the weights of its largest network, shared by all."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial

import torch
from torch import Tensor

from hnas import Architecture, NormStats, SearchSpace, SuperNet
from hnas.layer import Shape
from hnas.supernet import Params, Role
from hnas_plugins.engine import blocks as engine
from hnas_plugins.engine.descent import Unit, descend_by_name
from hnas_plugins.spaces.blocks import passes
from hnas_plugins.spaces.blocks.conv_layers import ACTIVATIONS, KERNELS, check_task
from hnas_plugins.spaces.blocks.plain import centre
from hnas_plugins.spaces.vgg9.geometry import DEPTH, Geometry


class VGG9SuperNet(SuperNet):
    """Share weights by the first n channels of input and output and the centre crop of the kernel.

    Parameters: ``conv1.weight`` (O, C, 5, 5), ``norm1.weight`` and ``norm1.bias`` (O,), … for four layers;
    ``fc.weight`` (n_way, C, pool²), so that its channels are sliced like those of a convolution, and ``fc.bias``
    (n_way,). Networks of every depth share the one classifier.

    Convolutions have no bias here, because a normalisation by batch statistics cancels it. `VGG9.layers` counts one: a
    deployed network has it, after its normalisation was folded into the convolution.
    """

    task_batched = True

    def __init__(self, space: SearchSpace, geometry: Geometry, input_shape: Shape, n_way: int) -> None:
        check_task(space.name, input_shape, n_way)
        engine.prepare()
        self._space, self._geometry = space, geometry
        options = geometry.options
        self.largest = space.largest()
        self._task = (input_shape, n_way)
        self._pool = options.pool
        self._halving = {
            "stride": 2 if options.downsample == "stride" else 1,
            "max_pool": options.downsample == "pool",
        }
        norm = (len(ACTIVATIONS),) if options.norms == "activation" else ()
        widest, positions = max(geometry.widths), self._pool**2
        self._shapes: dict[str, tuple[int, ...]] = {}
        channels = input_shape[0]
        for i in range(1, DEPTH + 1):
            self._shapes[f"conv{i}.weight"] = (widest, channels, KERNELS[-1], KERNELS[-1])
            if options.kernels == "transform":
                self._shapes[f"conv{i}.to3"] = (9, 9)
            self._shapes[f"norm{i}.weight"] = self._shapes[f"norm{i}.bias"] = (*norm, widest)
            channels = widest
        self._shapes |= {"fc.weight": (n_way, widest, positions), "fc.bias": (n_way,)}

    @property
    def roles(self) -> Mapping[str, Role]:
        return {n: "norm" if n.startswith("norm") else "meta" if n.endswith("to3") else "weight" for n in self._shapes}

    def init(self, generator: torch.Generator) -> Params:
        """Draw as the MAML++ authors' code does: Xavier-uniform weights, biases 0, gamma 1 and beta 0.

        Xavier's bound is that of the reference network (3×3, base width), whatever the super-net's size. Under batch
        normalisation the scale of a convolution changes no output, only how far an inner step of a given rate moves
        it; so the reference network starts where MAML++'s rates were found, and the others lie on both sides of it.
        """
        params = {}
        for name, shape in self._shapes.items():
            if name.endswith(".bias"):
                params[name] = torch.zeros(shape)
            elif name.startswith("norm"):
                params[name] = torch.ones(shape)
            elif name.endswith("to3"):
                params[name] = torch.eye(9)
            else:
                bound = self._xavier_bound(name, shape)
                params[name] = torch.empty(shape).uniform_(-bound, bound, generator=generator)
        return params

    def _xavier_bound(self, name: str, shape: tuple[int, ...]) -> float:
        base = self._geometry.options.base_width
        if name == "fc.weight":
            return math.sqrt(6 / (base * shape[-1] + shape[-3]))
        fan_in = shape[1] if name.startswith("conv1.") else base
        return math.sqrt(6 / (9 * (fan_in + base)))

    def macs(self, arch: Architecture) -> int:
        return sum(layer.macs for layer in self._space.layers(arch, *self._task))

    def share(self, params: Params, arch: Architecture) -> Params:
        """Return views of ``params``: the super-net's, or those of any network that has as much of each tensor."""
        shared = {}
        channels = params["conv1.weight"].shape[-3]
        for i, block in enumerate(self._geometry.blocks(arch), 1):
            weight = params[f"conv{i}.weight"][..., : block.width, :channels, :, :]
            if self._geometry.options.kernels == "transform" and block.kernel < 5:
                inner = weight[..., 1:4, 1:4]
                weight = (inner.flatten(-2) @ params[f"conv{i}.to3"].unsqueeze(-3)).view(inner.shape)
            shared[f"conv{i}.weight"] = centre(weight, block.kernel)
            for name in (f"norm{i}.weight", f"norm{i}.bias"):
                rows = params[name]
                if self._geometry.options.norms == "activation":
                    rows = rows[..., ACTIVATIONS.index(block.activation), :]
                shared[name] = rows[..., : block.width]
            channels = block.width
        shared["fc.weight"], shared["fc.bias"] = params["fc.weight"][..., :channels, :], params["fc.bias"]
        return shared

    def fan_ratios(self, arch: Architecture) -> Mapping[str, float]:
        """Return the ratio of each layer's fan-in to that of the reference network (3×3, base width)."""
        (channels, _, _), _ = self._task
        base = self._geometry.options.base_width
        scales = {}
        for i, block in enumerate(self._geometry.blocks(arch), 1):
            scales[f"conv{i}.weight"] = block.kernel**2 * channels / (9 * (channels if i == 1 else base))
            channels = block.width
        return scales | {"fc.weight": channels / base}

    def forward(self, shared: Params, x: Tensor, arch: Architecture, *, stats: NormStats | None = None) -> Tensor:
        """Return the logits (N, n_way). Statistics are named ``norm1`` … ``norm4``."""
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
        """Go down as the interface says; with the engine, without autograd."""
        if not engine.usable(x, stats[0] if stats else None):
            return super().descend(weights, norms, rates, x, y, arch, stats=stats, gradients=gradients)
        stride, pooled = self._halving["stride"], bool(self._halving["max_pool"])
        units = {
            str(i): Unit(kernel=b.kernel, activation=b.activation, stride=stride, max_pool=pooled)
            for i, b in enumerate(self._geometry.blocks(arch), 1)
        }
        return descend_by_name(units, weights, norms, rates, x, y, self._pool, stats=stats, gradients=gradients)

    def _features(
        self, arch: Architecture, block_of: Callable[..., Tensor], shared: Params, x: Tensor, stats: NormStats | None
    ) -> Tensor:
        """Return the last feature map."""
        for i, block in enumerate(self._geometry.blocks(arch), 1):
            x = block_of(
                x,
                shared[f"conv{i}.weight"],
                shared[f"norm{i}.weight"],
                shared[f"norm{i}.bias"],
                activation=block.activation,
                norm=f"norm{i}",
                stats=stats,
                **self._halving,
            )
        return x
