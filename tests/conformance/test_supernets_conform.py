"""The built-in super-nets that are trained already pass the tests that third parties are given."""

from __future__ import annotations

import pytest

from hnas.discovery import Registered, Registry
from hnas.testing import PretrainedSuperNetConformance
from hnas_plugins import spaces, supernets

BUILT_IN = Registry(third_party=False).list("supernet")


@pytest.mark.parametrize("registered", BUILT_IN, ids=lambda registered: registered.plugin.name)
class TestBuiltInSuperNets(PretrainedSuperNetConformance):
    @pytest.fixture(autouse=True)
    def _one(self, registered: Registered) -> None:
        self.registered = registered

    def make(self) -> Registered:
        return self.registered


def test_every_descriptor_is_found() -> None:
    """They have no entry point of their own: that of the spaces leads to them."""
    assert spaces.hnas_supernets is supernets.hnas_supernets
    assert [r.plugin for r in BUILT_IN] == supernets.hnas_supernets()
