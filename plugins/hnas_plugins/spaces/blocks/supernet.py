"""The super-net of a space of convolutions: the weights of its largest network, shared by all."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from copy import copy
from functools import lru_cache, partial

import torch
from torch import Tensor

from hnas import Architecture, NormStats, SearchSpace, SuperNet
from hnas.layer import Shape
from hnas.supernet import Params, Role
from hnas_plugins.engine import blocks as engine
from hnas_plugins.engine.descent import descend_by_name
from hnas_plugins.spaces.blocks import plain
from hnas_plugins.spaces.blocks.conv_layers import ACTIVATIONS, Convolution, check_task
from hnas_plugins.spaces.blocks.drop_block import drop_mask


class ConvSuperNet(SuperNet):
    """Share weights by the first n channels of input and output and the centre crop of the kernel.

    Parameters, for each convolution N of the largest network: ``convN.weight`` (O, C, k, k), ``normN.weight`` and
    ``normN.bias`` (O,), or (activations, O) with ``norms="activation"``; and ``convN.to3`` (9, 9) with ``transform``.
    ``fc.weight`` is (n_way, C, pool²), so that its channels are sliced like those of a convolution, and ``fc.bias``
    (n_way,). Networks of every depth share the one classifier. With ``classifier="shared"`` they are (1, C, pool²) and
    (1,), and start at 0: one vector that `share` copies for each class.

    Convolutions have no bias here, because a normalisation by batch statistics cancels it. `SearchSpace.layers` counts
    one: a deployed network has it, after its normalisation was folded into the convolution.
    """

    task_batched = True

    def __init__(
        self,
        space: SearchSpace,
        convolutions: Callable[[Architecture, int], Mapping[str, Convolution]],
        input_shape: Shape,
        n_way: int,
        *,
        start: Architecture,
        pool: int,
        norms: str,
        classifier: str,
        transform: bool = False,
    ) -> None:
        """Take the convolutions that ``space`` gives an architecture and the number of the images' channels.

        `init` and `fan_ratios` use the fans of the network ``start``.
        """
        check_task(space.name, input_shape, n_way)
        engine.prepare()
        self._space, self._task, self._pool = space, (input_shape, n_way), pool
        self.largest = space.largest()
        self._drop: Callable[..., Tensor] | None = None
        self._by_activation = norms == "activation"
        self.any_n_way = classifier == "shared"
        # Cached: an inner loop passes through the same network many times.
        self._convolutions = lru_cache(maxsize=1 << 10)(lambda arch: convolutions(arch, input_shape[0]))
        self._shapes: dict[str, tuple[int, ...]] = {}
        widest = self._convolutions(self.largest)
        for name in sorted(widest, key=_place):
            conv = widest[name]
            self._shapes[f"conv{name}.weight"] = (conv.width, conv.channels, conv.kernel, conv.kernel)
            if transform:
                self._shapes[f"conv{name}.to3"] = (9, 9)
            norm = (len(ACTIVATIONS), conv.width) if self._by_activation else (conv.width,)
            self._shapes[f"norm{name}.weight"] = self._shapes[f"norm{name}.bias"] = norm
        rows = 1 if self.any_n_way else n_way
        self._shapes |= {"fc.weight": (rows, conv.width, pool**2), "fc.bias": (rows,)}
        self._fans = self._fans_of(start)
        """Fan-in and fan-out of each weight in the reference network."""

    @property
    def roles(self) -> Mapping[str, Role]:
        return {n: "norm" if n.startswith("norm") else "meta" if n.endswith("to3") else "weight" for n in self._shapes}

    def init(self, generator: torch.Generator) -> Params:
        """Draw as the MAML++ authors' code does: Xavier-uniform weights, biases 0, gamma 1 and beta 0.

        Xavier's bound is that of the reference network (3×3, scale 1), whatever the super-net's size. Under batch
        normalisation the scale of a convolution changes no output, only how far an inner step of a given rate moves it.
        So the reference network starts where MAML++'s rates were found, and the others lie on both sides of it.

        A vector that all classes share starts at 0: whatever it is, a softmax does not see it.
        """
        params = {}
        for name, shape in self._shapes.items():
            if name == "fc.weight" and self.any_n_way:
                params[name] = torch.zeros(shape)
            elif name in self._fans:
                bound = math.sqrt(6 / sum(self._fans[name]))
                params[name] = torch.empty(shape).uniform_(-bound, bound, generator=generator)
            elif name.endswith("to3"):
                params[name] = torch.eye(9)
            else:
                params[name] = torch.zeros(shape) if name.endswith(".bias") else torch.ones(shape)
        return params

    def head(self, arch: Architecture) -> tuple[str, str]:
        return "fc.weight", "fc.bias"

    def macs(self, arch: Architecture) -> int:
        return sum(layer.macs for layer in self._space.layers(arch, *self._task))

    def share(self, params: Params, arch: Architecture) -> Params:
        """Return views of ``params``: the super-net's, or those of any network that has as much of each tensor."""
        shared: Params = {}
        for name, conv in self._convolutions(arch).items():
            weight = params[f"conv{name}.weight"][..., : conv.width, : conv.channels, :, :]
            if f"conv{name}.to3" in self._shapes and conv.kernel < 5:
                inner = plain.centre(weight, 3)
                weight = (inner.flatten(-2) @ params[f"conv{name}.to3"].unsqueeze(-3)).view(inner.shape)
            shared[f"conv{name}.weight"] = plain.centre(weight, conv.kernel)
            for part in (f"norm{name}.weight", f"norm{name}.bias"):
                rows = params[part]
                if self._by_activation:
                    rows = rows[..., ACTIVATIONS.index(conv.norm), :]
                shared[part] = rows[..., : conv.width]
        weight, bias = params["fc.weight"][..., : conv.width, :], params["fc.bias"]
        if self.any_n_way:
            n_way = self._task[1]
            weight = weight.expand(*weight.shape[:-3], n_way, *weight.shape[-2:])
            bias = bias.expand(*bias.shape[:-1], n_way)
        shared["fc.weight"], shared["fc.bias"] = weight, bias
        return shared

    def fan_ratios(self, arch: Architecture) -> Mapping[str, float]:
        """Return the ratio of each layer's fan-in to that of the reference network (3×3, scale 1)."""
        return {name: fan_in / self._fans[name][0] for name, (fan_in, _) in self._fans_of(arch).items()}

    def _fans_of(self, arch: Architecture) -> dict[str, tuple[int, int]]:
        fans = {}
        for name, conv in self._convolutions(arch).items():
            fans[f"conv{name}.weight"] = (conv.kernel**2 * conv.channels, conv.kernel**2 * conv.width)
        return fans | {"fc.weight": (conv.width * self._pool**2, self._task[1])}

    def with_drop_block(self, rate: float, generators: Sequence[torch.Generator]) -> SuperNet:
        if not any(conv.drops for conv in self._convolutions(self.largest).values()):
            return super().with_drop_block(rate, generators)
        dropping = copy(self)
        dropping._drop = partial(drop_mask, rate, tuple(generators))
        return dropping

    def forward(self, shared: Params, x: Tensor, arch: Architecture, *, stats: NormStats | None = None) -> Tensor:
        """Return the logits (N, n_way). Statistics are named ``normN``, for convolution N."""
        if engine.usable(x, stats):
            batch = None if stats is None else NormStats("collect")
            logits = self._fast({k: v[None] for k, v in shared.items()}, x[None], arch, batch)
            if stats is not None and batch is not None:
                stats.mean |= {k: v[0] for k, v in batch.mean.items()}
                stats.var |= {k: v[0] for k, v in batch.var.items()}
            return logits[0]
        x = self._features(plain.conv_norm_activation, shared, x, arch, stats)
        return plain.pool_linear(x, shared["fc.weight"], shared["fc.bias"], self._pool)

    def forward_tasks(self, shared: Params, x: Tensor, arch: Architecture, *, stats: NormStats | None = None) -> Tensor:
        """Return the logits (T, N, n_way): all tasks at once; without the engine, as groups of each convolution."""
        if engine.usable(x, stats):
            return self._fast(shared, x, arch, stats)
        x = self._features(plain.conv_norm_activation, shared, plain.group_tasks(x), arch, stats)
        return plain.pool_linear_tasks(x, shared["fc.weight"], shared["fc.bias"], self._pool)

    def _fast(self, shared: Params, x: Tensor, arch: Architecture, stats: NormStats | None) -> Tensor:
        x = self._features(engine.conv_norm_activation, shared, engine.channels_last(x), arch, stats)
        return engine.pool_linear(x, shared["fc.weight"], shared["fc.bias"], self._pool)

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
        """Run the descent of the interface; with the engine, without autograd.

        Dropped blocks, and rates that differ within a tensor, need autograd.
        """
        by_element = any(rate.dim() > 1 for rate in rates.values())
        if by_element or self._drop is not None or not engine.usable(x, stats[0] if stats else None):
            return super().descend(weights, norms, rates, x, y, arch, stats=stats, gradients=gradients)
        units = self._convolutions(arch)
        return descend_by_name(units, weights, norms, rates, x, y, self._pool, stats=stats, gradients=gradients)

    def _features(
        self, block_of: Callable[..., Tensor], shared: Params, x: Tensor, arch: Architecture, stats: NormStats | None
    ) -> Tensor:
        """Return the last feature map, by one of the two ``conv_norm_activation``."""
        given = x  # the input of a residual block
        fast = block_of is engine.conv_norm_activation
        for name, conv in self._convolutions(arch).items():
            y = block_of(
                x if conv.joins < 0 else given,
                shared[f"conv{name}.weight"],
                shared[f"norm{name}.weight"],
                shared[f"norm{name}.bias"],
                activation=conv.activation,
                stride=conv.stride,
                max_pool=conv.max_pool,
                norm=f"norm{name}",
                stats=stats,
            )
            if conv.joins < 0:
                x = y
                continue
            after = plain.ACTIVATIONS[conv.after]
            x = engine.each_task(after, x + y) if fast else after(x + y)
            if self._drop is not None and conv.drops:
                x = x * self._drop(x, tasks_first=fast)
            given = x
        return x


def _place(name: str) -> tuple[int, bool]:
    """Order weights as they are drawn: by block, the shortcut first."""
    block, _, part = name.partition("_")
    return int(block), part != "short"
