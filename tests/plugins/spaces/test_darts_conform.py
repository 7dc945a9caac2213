"""The space of DARTS cells and its super-net, with both stems."""

from __future__ import annotations

import pytest

from hnas.testing import SpaceConformance
from hnas_plugins.spaces.darts import Darts, DartsOptions


class TestDarts(SpaceConformance):
    options = DartsOptions
    samples = 1

    @pytest.fixture(autouse=True, params=[{}, {"stem": "imagenet", "classifier": "shared"}])
    def _given(self, request: pytest.FixtureRequest) -> None:
        self.given = request.param

    def make(self) -> Darts:
        return Darts(DartsOptions(channels=2, cells=3, **self.given))
