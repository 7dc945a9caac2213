"""The built-in meta-learners by gradient, and parts of MAML++ that change what is learnt or shared between tasks."""

from __future__ import annotations

import pytest

from hnas.learner import MetaLearner
from hnas.space import SearchSpace
from hnas.testing import LearnerConformance
from hnas_plugins.meta_learners.alfa import alfa
from hnas_plugins.meta_learners.anil import anil
from hnas_plugins.meta_learners.maml import MAML
from hnas_plugins.meta_learners.meta_sgd import meta_sgd
from hnas_plugins.meta_learners.options import (
    ALFAOptions,
    ANILOptions,
    MAMLOptions,
    MAMLPlusPlusOptions,
    MetaSGDOptions,
)
from hnas_plugins.meta_learners.reptile import ReptileOptions, reptile
from hnas_plugins.mixture_learners.base import base
from hnas_plugins.mixture_learners.darts import darts
from hnas_plugins.mixture_learners.options import BASEOptions, DARTSOptions, TNASOptions, TNASPlusPlusOptions
from hnas_plugins.mixture_learners.t_nas import t_nas
from hnas_plugins.spaces.vgg9 import VGG9, VGG9Options


class TestMAML(LearnerConformance):
    options = MAMLOptions

    def make(self) -> MetaLearner:
        return MAML(MAMLOptions(inner_steps=2, meta_lr=0.01))


class TestMAMLPlusPlus(LearnerConformance):
    options = MAMLPlusPlusOptions

    def make(self) -> MetaLearner:
        return MAML(MAMLPlusPlusOptions(inner_steps=2, meta_lr=0.01, msl_epochs=1, first_order_epochs=1))


class TestMAMLPlusPlusOnTheFastPath(TestMAMLPlusPlus):
    """The built-in super-nets compute tasks in batches, with kernels of their own."""

    @pytest.fixture(autouse=True, params=[{}, {"statistics": "running"}])
    def _given(self, request: pytest.FixtureRequest) -> None:
        self.given = request.param

    def space(self) -> SearchSpace:
        return VGG9(VGG9Options(base_width=4))

    def make(self) -> MetaLearner:
        return MAML(MAMLPlusPlusOptions(inner_steps=2, meta_lr=0.01, first_order_epochs=1, **self.given))


class TestMetaSGD(LearnerConformance):
    options = MetaSGDOptions

    def make(self) -> MetaLearner:
        return meta_sgd(MetaSGDOptions(meta_lr=0.01))


class TestALFA(LearnerConformance):
    options = ALFAOptions

    def make(self) -> MetaLearner:
        return alfa(ALFAOptions(inner_steps=2, meta_lr=0.01, l2f=True))


class TestANIL(LearnerConformance):
    options = ANILOptions

    def make(self) -> MetaLearner:
        return anil(ANILOptions(inner_steps=2, meta_lr=0.01))


class TestReptile(LearnerConformance):
    options = ReptileOptions

    def make(self) -> MetaLearner:
        return reptile(ReptileOptions(inner_steps=5, meta_lr=0.01))  # two are hardly more than joint training


class TestTNAS(LearnerConformance):
    options = TNASOptions

    def make(self) -> MetaLearner:
        return t_nas(TNASOptions(inner_steps=2, meta_lr=0.01))


class TestTNASPlusPlus(LearnerConformance):
    options = TNASPlusPlusOptions

    def make(self) -> MetaLearner:
        return t_nas(TNASPlusPlusOptions(inner_steps=2, meta_lr=0.01, msl_epochs=1, first_order_epochs=1))


class TestBASE(LearnerConformance):
    options = BASEOptions
    iterations = 60  # of the sampled mixture, while its scores are those of one network

    def make(self) -> MetaLearner:
        return base(BASEOptions(inner_steps=2, meta_lr=0.01))


class TestDARTS(LearnerConformance):
    """With an outer loop, which its default leaves out."""

    options = DARTSOptions

    def make(self) -> MetaLearner:
        return darts(DARTSOptions(inner_steps=2, meta_lr=0.01))
