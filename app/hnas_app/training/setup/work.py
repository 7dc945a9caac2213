"""An estimate of the work to compute a network, to spread work over workers; no result depends on it."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cached_property, lru_cache

from attrs import frozen

from hnas.architecture import Architecture
from hnas.layer import Shape
from hnas.space import SearchSpace

VALUE, NETWORK = 10, 200_000
"""The work for a layer's value, and for a network as such, besides multiplying. Fitted to the seconds of 60 random
networks of VGG9, 16 wide, in training with first-order gradients on x86: errors of 17 %, by multiplying alone 72 %."""
REMEMBERED = 2**14
"""Architectures: those of a search's iteration many times over."""


@frozen(kw_only=True, eq=False, slots=False)
class Work:
    """Estimates the work of the networks of a space, each once: call it with an architecture."""

    space: SearchSpace
    image_shape: Shape
    n_way: int

    def __call__(self, arch: Architecture) -> float:
        """Return the estimated work to compute an architecture, in multiply-accumulates for one image."""
        macs, values = self._size(arch)
        return NETWORK + macs + VALUE * values

    def macs(self, arch: Architecture) -> int:
        """Return the multiply-accumulates of an architecture for one image."""
        return self._size(arch)[0]

    @cached_property
    def _size(self) -> Callable[[Architecture], tuple[int, int]]:
        return lru_cache(REMEMBERED)(self._measure)

    def _measure(self, arch: Architecture) -> tuple[int, int]:
        """Return an architecture's multiply-accumulates, and how many numbers its layers put out."""
        layers = list(self.space.layers(arch, self.image_shape, self.n_way))
        return sum(layer.macs for layer in layers), sum(math.prod(layer.out_shape) for layer in layers)
