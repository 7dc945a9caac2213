"""A search space in user code: depthwise-separable convolutions, as in MobileNet, and their super-net.

hnas spaces show ./examples/custom_space.py:MySpace
hnas run --preset quick --space ./examples/custom_space.py:MySpace
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from attrs import frozen

from hnas import Architecture, Choice, ConfigError, Layer, NormStats, SearchSpace, SuperNet
from hnas.layer import Shape
from hnas.settings import positive, setting
from hnas.supernet import Params, Role

if TYPE_CHECKING:
    import torch
    from torch import Tensor

DEPTH = 4
KERNELS = (3, 5)
SCALES = (0.5, 1.0, 1.5)


class MySpace(SearchSpace):
    """Up to four blocks, each a k×k convolution of every channel alone that halves the map, then a 1×1 convolution.

    Howard et al., MobileNets (arXiv:1704.04861), section 3.1, with a batch normalisation and ReLU after both.
    """

    name = "my-space"

    @frozen(kw_only=True)
    class Options:
        """Options for ``--set space.KEY=VALUE`` and the table ``[space]``."""

        base_width: int = setting(32, "channels of a block at width 1", positive)

    def __init__(self, options: Options) -> None:
        self._base_width = options.base_width
        choices = [Choice(name="depth", options=tuple(range(1, DEPTH + 1)))]
        for i in range(1, DEPTH + 1):
            needs = ("depth", tuple(range(i, DEPTH + 1)))  # the fourth kernel changes nothing in a network of three
            choices += [
                Choice(name=f"kernel{i}", options=KERNELS, needs=needs),
                Choice(name=f"width{i}", options=SCALES, needs=needs),
            ]
        self._choices = tuple(choices)

    @property
    def choices(self) -> Sequence[Choice]:
        return self._choices

    def references(self) -> Mapping[str, Architecture]:
        """Return the network that limits such as ``latency<=0.6ref`` compare with."""
        return {"plain": self.architecture(depth=DEPTH, **{f"width{i}": 1.0 for i in range(1, DEPTH + 1)})}

    def blocks(self, arch: Architecture) -> list[tuple[int, int]]:
        """Return the kernel and the channels of each block, input side first."""
        picked = self.options(arch)
        blocks = range(1, int(picked["depth"]) + 1)
        return [(int(picked[f"kernel{i}"]), self.channels(float(picked[f"width{i}"]))) for i in blocks]

    def channels(self, width: float) -> int:
        """Return the number of channels of a block of this relative width."""
        return max(1, round(self._base_width * width))

    def layers(self, arch: Architecture, input_shape: Shape, n_way: int) -> Sequence[Layer]:
        """Return the layers as hardware sees them: every operation of the forward pass, with its shapes."""
        if min(input_shape) < 1 or n_way < 1:
            raise ConfigError(f"{self.name}: images of {input_shape} in {n_way} classes, expected positive sizes")
        layers, shape = list[Layer](), input_shape
        for kernel, channels in self.blocks(arch):
            half = (shape[0], -(-shape[1] // 2), -(-shape[2] // 2))  # halved with rounding up
            out = (channels, *half[1:])
            layers += [
                Layer(
                    op="conv2d",
                    in_shape=shape,
                    out_shape=half,
                    kernel=kernel,
                    stride=2,
                    padding=kernel // 2,
                    groups=shape[0],
                ),
                Layer(op="norm", in_shape=half, out_shape=half),
                Layer(op="relu", in_shape=half, out_shape=half),
                Layer(op="conv2d", in_shape=half, out_shape=out),
                Layer(op="norm", in_shape=out, out_shape=out),
                Layer(op="relu", in_shape=out, out_shape=out),
            ]
            shape = out
        pooled = (shape[0], 1, 1)
        layers.append(Layer(op="avg_pool", in_shape=shape, out_shape=pooled))
        return [*layers, Layer(op="linear", in_shape=pooled, out_shape=(n_way, 1, 1), bias=True)]

    def supernet(self, input_shape: Shape, n_way: int) -> SuperNet:
        return MySuperNet(self, input_shape, n_way)


class MySuperNet(SuperNet):
    """The weights of the largest network. Others use the first channels, and the centre of the largest kernel."""

    def __init__(self, space: MySpace, input_shape: Shape, n_way: int) -> None:
        self._space = space
        self._shapes: dict[str, tuple[int, ...]] = {}
        channels, kernel, widest = input_shape[0], max(KERNELS), space.channels(max(SCALES))
        for i in range(1, DEPTH + 1):
            self._shapes[f"depthwise{i}.weight"] = (channels, 1, kernel, kernel)
            self._shapes |= {f"norm{i}a.weight": (channels,), f"norm{i}a.bias": (channels,)}
            self._shapes[f"pointwise{i}.weight"] = (widest, channels, 1, 1)
            self._shapes |= {f"norm{i}b.weight": (widest,), f"norm{i}b.bias": (widest,)}
            channels = widest
        self._shapes |= {"classifier.weight": (n_way, widest), "classifier.bias": (n_way,)}

    @property
    def roles(self) -> Mapping[str, Role]:
        """Normalisations keep their scale and shift for each inner step under MAML++; all else is adapted."""
        return {name: "norm" if name.startswith("norm") else "weight" for name in self._shapes}

    def init(self, generator: torch.Generator) -> Params:
        """Draw weights with a variance of 2 over the fan-in (He et al., 2015); gamma 1, beta and biases 0."""
        import torch

        params = {}
        for name, shape in self._shapes.items():
            if len(shape) == 1:
                params[name] = torch.ones(shape) if name.endswith(".weight") else torch.zeros(shape)
            else:
                scale = (2 / torch.Size(shape[1:]).numel()) ** 0.5
                params[name] = scale * torch.randn(shape, generator=generator)
        return params

    def share(self, params: Params, arch: Architecture) -> Params:
        """Return views, so that gradients reach the super-net; ``...`` leaves leading dimensions alone."""
        shared, before = Params(), params["depthwise1.weight"].shape[-4]
        for i, (kernel, channels) in enumerate(self._space.blocks(arch), 1):
            edge = (max(KERNELS) - kernel) // 2
            centre = slice(edge, edge + kernel)
            shared[f"depthwise{i}.weight"] = params[f"depthwise{i}.weight"][..., :before, :, centre, centre]
            shared[f"pointwise{i}.weight"] = params[f"pointwise{i}.weight"][..., :channels, :before, :, :]
            for part in ("weight", "bias"):
                shared[f"norm{i}a.{part}"] = params[f"norm{i}a.{part}"][..., :before]
                shared[f"norm{i}b.{part}"] = params[f"norm{i}b.{part}"][..., :channels]
            before = channels
        shared["classifier.weight"] = params["classifier.weight"][..., :before]
        return shared | {"classifier.bias": params["classifier.bias"]}

    def head(self, arch: Architecture) -> tuple[str, str]:
        """Return the names of the classifier's parameters, for learners that compare the features before it."""
        return "classifier.weight", "classifier.bias"

    def forward(self, shared: Params, x: Tensor, arch: Architecture, *, stats: NormStats | None = None) -> Tensor:
        """Return the logits. This plain pass is enough: the core loops over tasks and differentiates through it."""
        from torch.nn import functional as F

        from hnas.toolkit.learning import normalise

        for i, (kernel, _) in enumerate(self._space.blocks(arch), 1):
            x = F.conv2d(x, shared[f"depthwise{i}.weight"], stride=2, padding=kernel // 2, groups=x.shape[1])
            x = F.relu(normalise(x, shared, f"norm{i}a", stats))
            x = F.conv2d(x, shared[f"pointwise{i}.weight"])
            x = F.relu(normalise(x, shared, f"norm{i}b", stats))
        return F.linear(x.mean((2, 3)), shared["classifier.weight"], shared["classifier.bias"])
