"""A part of the VGG9 space that is small enough to score as a whole: 1,332 architectures."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import product

from hnas import Architecture, Choice, Layer, SearchSpace, SuperNet
from hnas.layer import Shape
from hnas_plugins.spaces.blocks.conv_layers import ACTIVATIONS
from hnas_plugins.spaces.vgg9 import VGG9, VGG9Options

BASE_WIDTH = 8
IMAGE = (1, 28, 28)
N_WAY = 5


class SmallSpace(SearchSpace):
    """One or two layers of VGG9, each with two kernels, three widths and six activations: 36 + 36² networks.

    Its networks are VGG9's, under other genes: `whole` translates. They share VGG9's super-net.
    """

    name = "small-vgg9"

    def __init__(self) -> None:
        self.vgg9 = VGG9(VGG9Options(base_width=BASE_WIDTH, norms="activation", pool=5))
        choices = [Choice(name="depth", options=(1, 2))]
        for i in (1, 2):
            needs = ("depth", (2,)) if i == 2 else None
            choices.append(Choice(name=f"kernel{i}", options=(3, 5), needs=needs))
            choices.append(Choice(name=f"scale{i}", options=(0.5, 1.0, 2.0), needs=needs))
            choices.append(Choice(name=f"activation{i}", options=ACTIVATIONS, needs=needs))
        self._choices = tuple(choices)

    @property
    def choices(self) -> Sequence[Choice]:
        return self._choices

    def whole(self, arch: Architecture) -> Architecture:
        """Return the same network as an architecture of VGG9."""
        return self.vgg9.architecture(**self.options(arch))

    def layers(self, arch: Architecture, input_shape: Shape, n_way: int) -> Sequence[Layer]:
        return self.vgg9.layers(self.whole(arch), input_shape, n_way)

    def supernet(self, input_shape: Shape, n_way: int) -> SuperNet:
        raise NotImplementedError("its networks are scored as VGG9's, see `whole`")

    def everything(self) -> Iterator[Architecture]:
        """Yield every distinct architecture once, by enumeration."""
        genes = product(*(range(len(c.options)) for c in self.choices))
        yield from dict.fromkeys(self.canonical(Architecture(self.name, g)) for g in genes)
