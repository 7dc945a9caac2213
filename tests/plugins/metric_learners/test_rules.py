"""Each rule by hand, on features of few numbers, and what all learners share that compare features."""

from __future__ import annotations

from math import exp
from typing import Any

import pytest
import torch
from attrs import evolve
from pixels import ARCH, PROGRESS, Pixels, probabilities, task

from hnas import DataError, Registry
from hnas.testing import TinyTasks

REGISTRY = Registry()
TWO = task([[(0, 0), (2, 0)], [(0, 4), (2, 4)]], [[(1, 1)], [(1, 3)]])
"""Two classes with means (1, 0) and (1, 4)."""


def learner(name: str, **options: Any) -> Any:
    return REGISTRY.create("learner", name, options)


def test_prototypical_by_hand() -> None:
    """The first image is at the squared distances 1 and 9 from the means, the second at 9 and 1."""
    near = 1 / (1 + exp(-8))
    expected = torch.tensor([[near, 1 - near], [1 - near, near]])
    torch.testing.assert_close(probabilities(learner("prototypical"), TWO), expected)


@pytest.mark.parametrize("name", ["prototypical"])
def test_gradients_are_those_of_finite_differences(name: str) -> None:
    """By the one weight, which scales all features, and by the parameters of the rule; in float64."""
    made, supernet = learner(name), Pixels()
    drawn = made.init(supernet, torch.Generator().manual_seed(0))
    state = {k: v.double() for k, v in drawn.items()}
    episodes = evolve(TWO, support_x=TWO.support_x.double() / 4, query_x=TWO.query_x.double() / 4)

    def loss(changed: dict[str, Any]) -> float:
        return float(made.gradient(supernet, changed, episodes, ARCH, PROGRESS)[1].loss)

    found, _ = made.gradient(supernet, state, episodes, ARCH, PROGRESS)
    for name in [k for k in found if "fc" not in k]:
        step = torch.randn(state[name].shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
        ends = [loss(state | {name: state[name] + sign * 1e-6 * step}) for sign in (1, -1)]
        assert float((found[name] * step).sum()) == pytest.approx((ends[0] - ends[1]) / 2e-6, rel=1e-5, abs=1e-9)


@pytest.mark.parametrize("name", ["prototypical"])
def test_sums_do_not_depend_on_the_parts(name: str) -> None:
    """So the same seed gives the same bits with any number of workers."""
    from hnas_plugins.spaces.vgg9 import VGG9, VGG9Options

    made, space = learner(name), VGG9(VGG9Options(base_width=4, pool=2))
    supernet, arch = space.supernet((1, 8, 8), 10), space.largest()
    state = made.init(supernet, torch.Generator().manual_seed(0))
    episodes = TinyTasks().sample("train", *_drawn(5))
    whole, _ = made.gradient(supernet, state, episodes, arch, PROGRESS)
    cuts = [made.gradient(supernet, state, episodes[part], arch, PROGRESS)[0] for part in (slice(1), slice(1, 5))]
    assert whole.keys() == cuts[0].keys() == cuts[1].keys()
    assert all(torch.equal(whole[k], cuts[0][k] + cuts[1][k]) for k in whole)


def _drawn(n: int) -> tuple[Any, Any]:
    import numpy as np

    from hnas import EpisodeSpec

    return EpisodeSpec(n_way=3, k_shot=2, n_query=4), [np.random.default_rng(i) for i in range(n)]


@pytest.mark.parametrize("labels", [[], [0, 0, 0, 2], [0, 0, 0, 1]])
def test_a_class_without_images_is_refused_by_name(labels: list[int]) -> None:
    made, supernet = learner("prototypical"), Pixels()
    y = torch.tensor([labels], dtype=torch.int64)
    episodes = evolve(TWO, support_y=y, support_x=TWO.support_x[:, : len(labels)])
    state = made.init(supernet, torch.Generator())
    with pytest.raises(DataError, match=r"support images have labels \[.*each needs an image") as told:
        made.adapt(supernet, state, episodes, ARCH)
    assert "task.k_shot" in str(told.value.hint)
