"""Every built-in space and its super-net, under the options that change how weights are shared or counted."""

from __future__ import annotations

import pytest

from hnas.testing import SpaceConformance, TinySpace
from hnas_plugins.spaces.resnet12 import ResNet12, ResNet12Options
from hnas_plugins.spaces.vgg9 import VGG9, VGG9Options


class TestVGG9(SpaceConformance):
    options = VGG9Options
    samples = 2

    @pytest.fixture(autouse=True, params=[{}, {"downsample": "pool", "pool": 2}])
    def _given(self, request: pytest.FixtureRequest) -> None:
        self.given = request.param

    def make(self) -> VGG9:
        return VGG9(VGG9Options(base_width=4, **self.given))


class TestVGG9WithLearnedKernels(SpaceConformance):
    """Small kernels go through a matrix, and normalisations are rows of those of all activations: not plain slices."""

    options = VGG9Options
    samples = 2

    def make(self) -> VGG9:
        return VGG9(VGG9Options(base_width=4, kernels="transform", norms="activation"))


class TestVGG9OfAnyNumberOfClasses(SpaceConformance):
    options = VGG9Options
    samples = 2

    def make(self) -> VGG9:
        return VGG9(VGG9Options(base_width=4, pool=2, classifier="shared"))


class TestResNet12(SpaceConformance):
    options = ResNet12Options
    samples = 2
    input_shape = (3, 16, 16)

    @pytest.fixture(autouse=True, params=["own", "shared"])
    def _given(self, request: pytest.FixtureRequest) -> None:
        self.classifier = request.param

    def make(self) -> ResNet12:
        return ResNet12(ResNet12Options(base_width=2, classifier=self.classifier))


class TestTiny(SpaceConformance):
    """What the conformance tests of learners and strategies stand on."""

    @pytest.fixture(autouse=True, params=[False, True])
    def _given(self, request: pytest.FixtureRequest) -> None:
        self.norm = request.param

    def make(self) -> TinySpace:
        return TinySpace(norm=self.norm)
