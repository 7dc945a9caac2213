"""Relation networks ("CompareNets" in the paper's tables): a small network learns how to compare."""

from __future__ import annotations

from math import isqrt, prod, sqrt

import torch
from attrs import frozen
from torch import Tensor
from torch.nn import functional as F

from hnas import ConfigError, MetaLearner
from hnas.settings import positive, setting
from hnas.supernet import Params
from hnas_plugins.metric_learners.comparing import Comparing
from hnas_plugins.metric_learners.options import ComparingOptions
from hnas_plugins.metric_learners.rule import Rule, Size

HIDDEN, KERNEL = 8, 3
"""Units of the hidden linear layer, and the size of the kernels."""


@frozen(kw_only=True)
class RelationOptions(ComparingOptions):
    """Options of relation networks."""

    width: int = setting(64, "channels of the relation module's convolutions", positive)


@frozen
class Relations(Rule):
    """A module of two convolutions and two linear layers on the maps of a class, summed over its shots, and an image.

    Scores from 0 to 1 are trained by the squared error to 1 and 0 (Sung et al., CVPR 2018). Two things differ from the
    paper. Maps come pooled, so the module halves them only while they have more than one place (`space.pool`). It
    normalises each pair on its own: a batch normalisation would let the images of a batch decide about each other.
    """

    width: int

    def init(self, size: Size, generator: torch.Generator) -> Params:
        """Draw weights with a variance of 2 over the fan-in (He et al., 2015); biases 0."""

        def drawn(shape: tuple[int, ...]) -> Tensor:
            return torch.randn(shape, generator=generator) * sqrt(2 / prod(shape[1:]))

        shapes = self._shapes(size)
        return {k: torch.zeros(v) if len(v) == 1 else drawn(v) for k, v in shapes.items()}

    def _shapes(self, size: Size) -> dict[str, tuple[int, ...]]:
        last = self.width * _halved(_halved(_side(size[1]))) ** 2
        return {
            "conv1.weight": (self.width, 2, size[0], KERNEL, KERNEL),
            "conv1.bias": (self.width,),
            "conv2.weight": (self.width, self.width, KERNEL, KERNEL),
            "conv2.bias": (self.width,),
            "fc1.weight": (HIDDEN, last),
            "fc1.bias": (HIDDEN,),
            "fc2.weight": (1, HIDDEN),
            "fc2.bias": (1,),
        }

    def own(self, params: Params, size: Size) -> Params:
        return params | {"conv1.weight": params["conv1.weight"][:, :, : size[0]]}

    def keep(self, own: Params, support: Tensor) -> Tensor:
        return support.sum(2)  # (T, n_way, C, P)

    def logits(self, own: Params, kept: Tensor, x: Tensor) -> Tensor:
        """Convolve the halves of the concatenated maps apart, each once, and add them: the same, at less work."""
        n_tasks, n_images, n_way = *x.shape[:2], kept.shape[1]
        side = _side(x.shape[-1])

        def convolve(maps: Tensor, weight: Tensor) -> Tensor:
            # One task after the other: a convolution in groups rounds otherwise with other tasks beside one.
            return torch.stack([F.conv2d(m, w, padding=KERNEL // 2) for m, w in zip(maps, weight, strict=True)])

        def activated(maps: Tensor, bias: Tensor) -> Tensor:
            own_bias = bias[:, None, :, None, None]
            normalised = F.layer_norm(maps, maps.shape[2:]) + own_bias
            halved = F.relu(normalised).flatten(0, 1)
            halved = F.max_pool2d(halved, 2, ceil_mode=True) if maps.shape[-1] > 1 else halved
            return halved.view(n_tasks, -1, *halved.shape[1:])

        maps = [m.reshape(*m.shape[:3], side, side) for m in (kept, x)]
        first, second = (convolve(m, own["conv1.weight"][:, :, i]) for i, m in enumerate(maps))
        pairs = (first[:, None] + second[:, :, None]).flatten(1, 2)  # (T, N * n_way, width, side, side)
        pairs = activated(pairs, own["conv1.bias"])
        pairs = activated(convolve(pairs, own["conv2.weight"]), own["conv2.bias"]).flatten(2)
        hidden = F.relu(torch.baddbmm(own["fc1.bias"][:, None], pairs, own["fc1.weight"].transpose(1, 2)))
        found = torch.baddbmm(own["fc2.bias"][:, None], hidden, own["fc2.weight"].transpose(1, 2))
        return found.view(n_tasks, n_images, n_way)

    def losses(self, own: Params, kept: Tensor, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """Return the squared error of scores from 0 to 1."""
        logits = self.logits(own, kept, x)
        target = F.one_hot(y, kept.shape[1]).to(logits.dtype)
        return logits, (torch.special.expit(logits) - target).square().mean((1, 2))

    def macs(self, size: Size, n_way: int, k_shot: int) -> int:
        """Count convolutions of an image's half once, and all else for every class; those of classes can be kept."""
        side = _side(size[1])
        halves, later = side**2, _halved(side) ** 2
        last = _halved(_halved(side)) ** 2
        each = self.width * (self.width * KERNEL**2 * later + last * HIDDEN) + HIDDEN
        return self.width * size[0] * KERNEL**2 * halves * (1 + n_way) + n_way * each

    def stored(self, size: Size, n_way: int, k_shot: int) -> int:
        module = sum(map(prod, self._shapes(size).values()))
        return n_way * size[0] * size[1] + module


def _side(places: int) -> int:
    """Return the side of a square map with so many places. Raises `ConfigError` for others."""
    side = isqrt(places)
    if side**2 != places:
        raise ConfigError(
            f"the features have {places} places, and the relation module convolves square maps",
            hint="use a space whose features are pooled to a square, such as vgg9, or another learner",
        )
    return side


def _halved(side: int) -> int:
    return -(-side // 2)


def relation(options: RelationOptions) -> MetaLearner:
    """Make the learner."""
    return Comparing(options, Relations(options.width))
