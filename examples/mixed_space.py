"""A search space in user code whose super-net mixes all options: for learners that search by architecture weights.

hnas spaces show ./examples/mixed_space.py:MixedSpace
hnas run --preset quick --space ./examples/mixed_space.py:MixedSpace --learner t-nas --strategy gradient
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from attrs import frozen

from hnas import Architecture, Choice, ConfigError, Layer, NormStats, Proposal, SearchSpace, SuperNet
from hnas.layer import Shape
from hnas.settings import positive, setting
from hnas.supernet import Params, Role

if TYPE_CHECKING:
    import torch
    from torch import Tensor

BLOCKS = ("op1", "op2", "op3")
KERNELS = {"conv3": 3, "conv5": 5, "max_pool": 3}


class MixedSpace(SearchSpace):
    """A 1×1 convolution, and three operations that halve the map: a convolution or a pooling each."""

    name = "mixed-space"

    @frozen(kw_only=True)
    class Options:
        """Options for ``--set space.KEY=VALUE`` and the table ``[space]``."""

        width: int = setting(16, "channels", positive)

    def __init__(self, options: Options) -> None:
        self.width = options.width

    @property
    def choices(self) -> Sequence[Choice]:
        return [Choice(name=name, options=tuple(KERNELS)) for name in BLOCKS]

    def references(self) -> Mapping[str, Architecture]:
        return {"plain": self.architecture()}

    def layers(self, arch: Architecture, input_shape: Shape, n_way: int) -> Sequence[Layer]:
        """Return the layers as hardware sees them. The mixture is in none: it is trained, and never priced."""
        if min(input_shape) < 1 or n_way < 1:
            raise ConfigError(f"{self.name}: images of {input_shape} in {n_way} classes, expected positive sizes")
        shape = (self.width, *input_shape[1:])
        layers = [
            Layer(op="conv2d", in_shape=input_shape, out_shape=shape),
            Layer(op="norm", in_shape=shape, out_shape=shape),
        ]
        for op in map(str, self.options(arch).values()):
            kernel = KERNELS[op]
            out = (self.width, -(-shape[1] // 2), -(-shape[2] // 2))
            window = {"kernel": kernel, "stride": 2, "padding": kernel // 2}
            layers.append(Layer(op=op.rstrip("35").replace("conv", "conv2d"), in_shape=shape, out_shape=out, **window))
            layers += [Layer(op=after, in_shape=out, out_shape=out) for after in ("norm", "relu")]
            shape = out
        pooled = (self.width, 1, 1)
        layers.append(Layer(op="avg_pool", in_shape=shape, out_shape=pooled))
        return [*layers, Layer(op="linear", in_shape=pooled, out_shape=(n_way, 1, 1), bias=True)]

    def supernet(self, input_shape: Shape, n_way: int) -> SuperNet:
        return MixedSuperNet(self, input_shape, n_way)


class MixedSuperNet(SuperNet):
    """Weights of all options of each block, and of each block's options an architecture weight."""

    relaxed = Architecture("mixed-space", ())

    def __init__(self, space: MixedSpace, input_shape: Shape, n_way: int) -> None:
        self._space, self._task, width = space, (input_shape, n_way), space.width
        self._shapes: dict[str, tuple[int, ...]] = {"stem.weight": (width, input_shape[0], 1, 1)}
        for block in ("stem", *BLOCKS):
            self._shapes |= {f"{block}_norm.weight": (width,), f"{block}_norm.bias": (width,)}
        for block in BLOCKS:
            self._shapes |= {f"{block}.conv{k}.weight": (width, width, k, k) for k in (3, 5)}
            self._shapes[f"{block}.arch"] = (len(KERNELS),)
        self._shapes |= {"fc.weight": (n_way, width), "fc.bias": (n_way,)}

    @property
    def roles(self) -> Mapping[str, Role]:
        kinds: dict[str, Role] = {"arch": "arch", "_norm": "norm"}
        return {n: next((role for part, role in kinds.items() if part in n), "weight") for n in self._shapes}

    def init(self, generator: torch.Generator) -> Params:
        """Draw weights with a variance of 2 over the fan-in; architecture weights, biases and beta 0, gamma 1."""
        import torch

        params = {}
        for name, shape in self._shapes.items():
            if len(shape) == 1:
                params[name] = torch.ones(shape) if name.endswith("_norm.weight") else torch.zeros(shape)
            else:
                scale = (2 / torch.Size(shape[1:]).numel()) ** 0.5
                params[name] = scale * torch.randn(shape, generator=generator)
        return params

    def share(self, params: Params, arch: Architecture) -> Params:
        """Return all of the mixture's; for others leave out architecture weights, and what other options have."""
        if arch == self.relaxed:
            return dict(params)
        picked = {f"{block}.{op}.weight" for block, op in self._space.options(arch).items()}
        roles = self.roles
        others = {n for n in params if n.startswith(BLOCKS) and roles[n] != "norm" and n not in picked}
        return {n: v for n, v in params.items() if n not in others}

    def head(self, arch: Architecture) -> tuple[str, str]:
        return "fc.weight", "fc.bias"

    def forward(self, shared: Params, x: Tensor, arch: Architecture, *, stats: NormStats | None = None) -> Tensor:
        from torch.nn import functional as F

        from hnas.toolkit.learning import normalise

        def apply(block: str, op: str, x: Tensor) -> Tensor:
            half = KERNELS[op] // 2
            if op == "max_pool":
                return F.max_pool2d(x, 3, 2, half)
            return F.conv2d(x, shared[f"{block}.{op}.weight"], stride=2, padding=half)

        picked = {} if arch == self.relaxed else self._space.options(arch)
        x = normalise(F.conv2d(x, shared["stem.weight"]), shared, "stem_norm", stats)
        for block in BLOCKS:
            if picked:
                x = apply(block, str(picked[block]), x)
            else:
                shares = shared[f"{block}.arch"].softmax(-1)
                x = sum((share * apply(block, op, x) for share, op in zip(shares, KERNELS, strict=True)), 0 * shares[0])
            x = F.relu(normalise(x, shared, f"{block}_norm", stats))
        return F.linear(x.mean((2, 3)), shared["fc.weight"], shared["fc.bias"])

    def prices(self, cost: Callable[[Layer], float]) -> Params:
        """Return what each option's own layer costs: the three are then followed by the same ones."""
        import torch

        by_option = [
            self._space.layers(self._space.architecture(**dict.fromkeys(BLOCKS, op)), *self._task) for op in KERNELS
        ]
        places = [2 + 3 * i for i in range(len(BLOCKS))]  # the stem has two layers, each block three
        return {
            f"{block}.arch": torch.tensor([cost(layers[place]) for layers in by_option])
            for block, place in zip(BLOCKS, places, strict=True)
        }

    def decode(self, adapted: Params) -> list[Proposal]:
        """Return the strongest option of each block, and how strong the others are: (T, options) each."""
        by_task = zip(*(adapted[f"{block}.arch"].softmax(-1).tolist() for block in BLOCKS), strict=True)
        return [
            Proposal(
                arch=Architecture(self._space.name, tuple(w.index(max(w)) for w in weights)),
                weights=tuple(map(tuple, weights)),
            )
            for weights in by_task
        ]
