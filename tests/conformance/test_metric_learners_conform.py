"""The learners that compare features, on the tests of every learner."""

from __future__ import annotations

from hnas import MetaLearner, Registry
from hnas.space import SearchSpace
from hnas.testing import LearnerConformance
from hnas_plugins.spaces.vgg9 import VGG9, VGG9Options

REGISTRY = Registry()


class Compares(LearnerConformance):
    """On a space whose features have places, and whose super-net names its largest architecture."""

    __test__ = False
    name = ""

    @property
    def options(self) -> type:  # type: ignore[override]
        return REGISTRY.options_class("learner", self.name)

    def space(self) -> SearchSpace:
        return VGG9(VGG9Options(base_width=4, pool=2))

    def make(self) -> MetaLearner:
        made: MetaLearner = REGISTRY.create("learner", self.name, {"meta_lr": 0.01})
        return made


class TestPrototypical(Compares):
    __test__ = True
    name = "prototypical"
