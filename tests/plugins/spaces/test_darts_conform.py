"""The space of DARTS cells and its super-net, with both stems."""

from __future__ import annotations

import pytest

from hnas.testing import SpaceConformance
from hnas_plugins.spaces.darts import Darts, DartsOptions


class TestDarts(SpaceConformance):
    options = DartsOptions
    samples = 0

    def make(self) -> Darts:
        return Darts(DartsOptions(channels=2, cells=3))


@pytest.mark.slow
class TestDartsForLargeImages(SpaceConformance):
    options = DartsOptions
    samples = 2
    input_shape = (3, 25, 21)  # on maps of one pixel a factorised reduction's second convolution sees nothing

    def make(self) -> Darts:
        return Darts(DartsOptions(channels=2, cells=4, stem="imagenet", classifier="shared"))
