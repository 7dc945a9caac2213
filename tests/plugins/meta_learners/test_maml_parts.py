"""The meta-gradient of a meta-batch is that of its parts, to the last bit, however it is cut."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import attrs
import numpy as np
import pytest
import torch

from hnas import Architecture, Episodes, Progress, SearchSpace
from hnas.learner import Gradient
from hnas_plugins.engine.native import library
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
from hnas_plugins.spaces.resnet12 import ResNet12, ResNet12Options
from hnas_plugins.spaces.vgg9 import VGG9, VGG9Options

TASKS = 5
LEARNERS: dict[str, Any] = {
    "first order": {},
    "second order": {"derivative_order_annealing": False, "msl_epochs": 1},
    "scaled rates": {"multi_step_loss": False, "rate_scaling": "linear"},
    "distillation": {"derivative_order_annealing": False, "distillation": 0.3},
    "one by one": {"batch_below_gflop": 0.0},
}


@pytest.fixture(autouse=True)
def _engine(hnas_home: object) -> None:
    if library(torch.float32) is None:
        pytest.skip("no C compiler, or HNAS_ENGINE=plain: torch's own convolutions round each batch otherwise")


def tasks() -> Episodes:
    generator = torch.Generator().manual_seed(0)
    x, query = (torch.randn(TASKS, 3 * n, 1, 10, 10, generator=generator) for n in (1, 2))
    y, query_y = (torch.arange(3).repeat_interleave(n).repeat(TASKS, 1) for n in (1, 2))
    return Episodes(support_x=x, support_y=y, query_x=query, query_y=query_y)


def gradient(space: SearchSpace, learner: MAML, arch: Architecture, edges: Sequence[int]) -> Gradient:
    """Return the sum over parts."""
    supernet, episodes = space.supernet((1, 10, 10), 3), tasks()
    state = learner.init(supernet, torch.Generator().manual_seed(0))
    progress = Progress(iteration=1, iterations_per_epoch=1, epochs=4, noise=tuple(range(TASKS)))
    total: Gradient = {}
    for a, b in pairwise(edges):
        own = attrs.evolve(progress, noise=progress.noise[a:b])
        found, _ = learner.gradient(supernet, state, episodes[a:b], arch, own)
        total |= {k: total[k] + v if k in total else v for k, v in found.items()}
    return total


def check(space: SearchSpace, learner: MAML, arch: Architecture) -> None:
    whole = gradient(space, learner, arch, [0, TASKS])
    for edges in ([0, 3, TASKS], range(TASKS + 1)):
        found = gradient(space, learner, arch, edges)
        assert whole.keys() == found.keys()
        assert not [k for k, v in whole.items() if not torch.equal(found[k], v)]


@pytest.mark.parametrize("options", LEARNERS.values(), ids=LEARNERS)
@pytest.mark.parametrize(
    "space", [VGG9(VGG9Options(base_width=6)), ResNet12(ResNet12Options(base_width=5))], ids=["vgg9", "resnet12"]
)
def test_parts_add_up_to_the_whole(space: SearchSpace, options: dict[str, Any]) -> None:
    learner = MAML(MAMLPlusPlusOptions(inner_steps=2, **options))
    check(space, learner, space.sample(np.random.default_rng(0)))


def test_so_they_do_without_the_parts_of_maml_plus_plus() -> None:
    space = VGG9(VGG9Options(base_width=6))
    check(space, MAML(MAMLOptions(inner_steps=2)), space.sample(np.random.default_rng(0)))


def test_so_they_do_with_dropped_blocks() -> None:
    space = ResNet12(ResNet12Options(base_width=5))
    check(space, MAML(MAMLPlusPlusOptions(inner_steps=2, drop_block=0.2)), space.sample(np.random.default_rng(0)))


OTHERS = {
    "meta-sgd": meta_sgd(MetaSGDOptions(inner_steps=2)),
    "meta-sgd, first order": meta_sgd(MetaSGDOptions(inner_steps=3, second_order=False)),
    "alfa and l2f": alfa(ALFAOptions(inner_steps=2, l2f=True)),
    "alfa and l2f, one by one": alfa(ALFAOptions(inner_steps=2, l2f=True, batch_below_gflop=0.0)),
    "anil": anil(ANILOptions(inner_steps=2, learned_rates=True, per_step_statistics=True)),
}


@pytest.mark.parametrize("learner", OTHERS.values(), ids=OTHERS)
def test_so_they_do_with_other_learners(learner: MAML) -> None:
    """With one classifier for all classes, too, whose rates are summed over its copies."""
    space = VGG9(VGG9Options(base_width=6, classifier="shared"))
    check(space, learner, space.sample(np.random.default_rng(0)))


def test_so_they_do_with_other_learners_on_residual_networks() -> None:
    space = ResNet12(ResNet12Options(base_width=5))
    check(space, OTHERS["alfa and l2f"], space.sample(np.random.default_rng(0)))
