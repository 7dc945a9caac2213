"""What fixed statistics cost is measured on the same tasks with the same weights: only the statistics differ."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType

import pytest
import torch

from hnas.seeds import Seeds
from hnas.testing import TinyTasks
from hnas_app.training.fixed_norm import FixedNorm, support_statistics
from hnas_app.training.setup.setup import Setup
from hnas_plugins.meta_learners.maml import MAML
from hnas_plugins.meta_learners.options import MAMLPlusPlusOptions
from hnas_plugins.spaces.vgg9 import VGG9, VGG9Options


def setup() -> Setup:
    return Setup(
        space=VGG9(VGG9Options(base_width=4)),
        learner=MAML(MAMLPlusPlusOptions(inner_steps=2)),
        tasks=TinyTasks(0.7, 1.0),
        n_way=3,
        k_shot=1,
        seeds=Seeds(0),
    )


@pytest.mark.slow
def test_its_two_ways_are_the_learner_s_own_score_and_that_of_exported_models(
    benchmark_module: Callable[[str], ModuleType],
) -> None:
    made = setup()
    state = made.learner.init(made.supernet, torch.Generator().manual_seed(0))
    arch = made.space.largest()
    found = benchmark_module("fixed_norm").measure(made, state, arch, 3, chunk=2)
    episodes = made.episodes("test", "test-tasks", range(3), 15)
    for kind, learner in (("batch", made.learner), ("support", FixedNorm(made.learner))):
        assert found[kind] == learner.score(made.supernet, state, episodes, arch).accuracy.tolist()
    assert {len(accuracies) for accuracies in found.values()} == {3}
    assert "1 running" in found


def test_a_blend_begins_at_the_support_s_statistics_and_ends_at_the_running_ones(
    benchmark_module: Callable[[str], ModuleType],
) -> None:
    made = setup()
    state = made.learner.init(made.supernet, torch.Generator().manual_seed(0))
    arch, episodes = made.space.largest(), made.episodes("test", "test-tasks", range(2), 1)
    adapted = made.learner.adapt(made.supernet, state, episodes, arch)
    support = support_statistics(made.learner, made.supernet, adapted, episodes.support_x, arch)
    blended = benchmark_module("fixed_norm").blended
    none, all_ = blended(support, state, 0.0), blended(support, state, 1.0)
    for layer in support.mean:
        assert torch.equal(none.mean[layer], support.mean[layer])
        assert torch.equal(none.var[layer], support.var[layer])
        assert torch.equal(
            all_.var[layer], state[f"stats/{layer}.var"][-1, : support.var[layer].shape[1]].expand(2, -1)
        )
