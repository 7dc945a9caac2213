"""The learners that compare features, on the tests of every learner."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType
from typing import Any, ClassVar

import pytest

from hnas import MetaLearner, Registry
from hnas.space import SearchSpace
from hnas.testing import LearnerConformance
from hnas_plugins.spaces.vgg9 import VGG9, VGG9Options

REGISTRY = Registry()


NAMES = ["prototypical", "matching", "relation", "siamese", "meta-baseline", "deepemd"]


class TestComparing(LearnerConformance):
    """On a space whose features have places, and whose super-net names its largest architecture."""

    iterations = 30

    more: ClassVar[dict[str, Any]] = {}

    @pytest.fixture(autouse=True, params=NAMES)
    def _named(self, request: pytest.FixtureRequest, required_module: Callable[[str], ModuleType]) -> None:
        if request.param == "deepemd":
            required_module("ot")
        self.name = request.param
        self.options = REGISTRY.options_class("learner", self.name)

    def space(self) -> SearchSpace:
        return VGG9(VGG9Options(base_width=4, pool=2))

    def make(self) -> MetaLearner:
        made: MetaLearner = REGISTRY.create("learner", self.name, {"meta_lr": 0.01, **self.more})
        return made


class TestDeepEMDWithoutPOT(TestComparing):
    """The approximation, which can be exported."""

    more: ClassVar = {"solver": "sinkhorn"}

    @pytest.fixture(autouse=True)
    def _named(self) -> None:
        self.name = "deepemd"
        self.options = REGISTRY.options_class("learner", self.name)
