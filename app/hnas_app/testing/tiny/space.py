"""A search space that is small enough to enumerate, and trains in a hundredth of a second."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from typing import TYPE_CHECKING

from hnas.architecture import Architecture, Choice
from hnas.cost import Cost
from hnas.errors import ConfigError
from hnas.layer import Layer, Shape
from hnas.space import SearchSpace

if TYPE_CHECKING:
    from hnas_app.testing.tiny.supernet import TinySuperNet


class TinySpace(SearchSpace):
    """VGG9 in small: stride-2 convolutions with a kernel, width and activation each, a depth, then a linear layer.

    A shallow network has a large linear layer, so the cheapest network is not simply that of all first options. With
    ``norm`` a batch normalisation follows each convolution, in place of its bias. With ``relaxed`` its super-net has
    a relaxed network, for learners that adapt architecture weights. With ``any_n_way`` its classifiers have one row.
    Without ``head`` it does not name its classifiers.
    """

    name = "tiny"

    def __init__(
        self,
        depth: int = 3,
        widths: Sequence[int] = (2, 4, 8),
        acts: Sequence[str] = ("relu", "elu"),
        norm: bool = False,
        relaxed: bool = False,
        any_n_way: bool = False,
        head: bool = True,
    ) -> None:
        self.norm, self.relaxed, self.any_n_way, self.head = norm, relaxed, any_n_way, head
        choices = [Choice(name="depth", options=tuple(range(1, depth + 1)))]
        for i in range(1, depth + 1):
            needs = ("depth", tuple(range(i, depth + 1)))
            choices += [
                Choice(name=f"kernel{i}", options=(1, 3, 5), needs=needs),
                Choice(name=f"width{i}", options=tuple(widths), needs=needs),
                Choice(name=f"act{i}", options=tuple(acts), needs=needs),
            ]
        self._choices = tuple(choices)

    @property
    def choices(self) -> Sequence[Choice]:
        return self._choices

    def width_choices(self) -> Sequence[str]:
        return [c.name for c in self._choices if c.name.startswith("width")]

    def layers(self, arch: Architecture, input_shape: Shape, n_way: int) -> Sequence[Layer]:
        if min(*input_shape, n_way) < 1:
            raise ConfigError(f"{self.name}: images of {input_shape} in {n_way} classes, expected positive sizes")
        picked = self.options(arch)
        shape, layers = input_shape, list[Layer]()
        for i in range(1, int(picked["depth"]) + 1):
            kernel, width = int(picked[f"kernel{i}"]), int(picked[f"width{i}"])
            out = (width, -(-shape[1] // 2), -(-shape[2] // 2))
            conv = Layer(
                op="conv2d",
                in_shape=shape,
                out_shape=out,
                kernel=kernel,
                stride=2,
                padding=kernel // 2,
                bias=not self.norm,
            )
            norm = [Layer(op="norm", in_shape=out, out_shape=out)] if self.norm else []
            layers += [conv, *norm, Layer(op=str(picked[f"act{i}"]), in_shape=out, out_shape=out)]
            shape = out
        features = (shape[0] * shape[1] * shape[2], 1, 1)
        layers.append(Layer(op="linear", in_shape=features, out_shape=(n_way, 1, 1), bias=True))
        return layers

    def supernet(self, input_shape: Shape, n_way: int) -> TinySuperNet:
        from hnas_app.testing.tiny.supernet import TinySuperNet  # it imports torch

        options = {"norm": self.norm, "relaxed": self.relaxed, "any_n_way": self.any_n_way, "head": self.head}
        return TinySuperNet(self, input_shape, n_way, **options)

    def everything(self) -> list[Architecture]:
        """Return every distinct architecture, by enumeration."""
        genes = product(*(range(len(c.options)) for c in self.choices))
        return sorted({self.canonical(Architecture(self.name, g)) for g in genes})

    def cost(self, arch: Architecture) -> Cost:
        """Price an architecture for 5-way tasks on 1×8×8 images.

        ``latency`` (in ms) has an overhead for each layer and, like an array of 4 columns, steps in the width.
        """
        layers = self.layers(arch, (1, 8, 8), 5)
        latency = sum(0.01 + 1e-4 * layer.macs / layer.out_shape[0] * -(-layer.out_shape[0] // 4) for layer in layers)
        params, macs = sum(layer.params for layer in layers), sum(layer.macs for layer in layers)
        return Cost(values={"latency": latency, "params": float(params), "macs": float(macs)})
