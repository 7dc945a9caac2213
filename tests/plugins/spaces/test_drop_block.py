"""DropBlock: how much it drops and where, and that a task's masks are its own on every path."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from supernet_checks import stacked_case

from hnas import ConfigError, Episodes, Progress
from hnas_plugins.meta_learners.maml import MAML
from hnas_plugins.meta_learners.options import MAMLPlusPlusOptions
from hnas_plugins.spaces.blocks.drop_block import SIZE, drop_mask
from hnas_plugins.spaces.resnet12 import ResNet12, ResNet12Options
from hnas_plugins.spaces.vgg9 import VGG9


def generators(*seeds: int) -> tuple[torch.Generator, ...]:
    return tuple(torch.Generator().manual_seed(s) for s in seeds)


def test_the_share_dropped_is_the_rate_and_means_stay():
    mask = drop_mask(0.1, generators(0), torch.empty(40, 16, 21, 21), tasks_first=False)
    assert (mask == 0).float().mean().item() == pytest.approx(0.1, rel=0.15)  # squares overlap a little
    assert mask.mean().item() == pytest.approx(1, rel=1e-4)
    assert len(mask.unique()) == 2


def test_what_is_dropped_are_whole_squares():
    mask = drop_mask(0.1, generators(0), torch.empty(20, 4, 11, 11), tasks_first=False)
    dropped = (mask == 0).float()
    opened = -F.max_pool2d(-dropped, SIZE, stride=1)  # 1 where a whole square is dropped
    covered = F.max_pool2d(F.pad(opened, [SIZE - 1] * 4), SIZE, stride=1)
    assert dropped.any()
    assert torch.equal(covered, dropped)


def test_on_a_smaller_map_the_square_is_as_large_as_fits():
    mask = drop_mask(0.3, generators(0), torch.empty(200, 10, 3, 2), tasks_first=False)
    flat = (mask == 0).flatten(2)
    assert 0.25 < flat.float().mean() < 0.35
    assert set(flat.sum(2).flatten().tolist()) == {0, 4, 6}  # no square of 2x2, one, or both that fit


def case(seed: int = 3):
    space = ResNet12(ResNet12Options(base_width=2))
    return stacked_case(space, space.reference(), seed=seed, shape=(2, 40, 40)), space.reference()


@pytest.mark.parametrize("path", ["engine", "plain"])
def test_the_masks_of_a_task_are_its_own_on_every_path(path, monkeypatch):
    (supernet, stacked, x, _), arch = case()
    fast = supernet.with_drop_block(0.3, generators(5, 6, 7)).forward_tasks(stacked, x, arch)
    if path == "plain":
        monkeypatch.setattr("hnas_plugins.engine.blocks.usable", lambda x, stats: False)
    together = supernet.with_drop_block(0.3, generators(5, 6, 7)).forward_tasks(stacked, x, arch)
    torch.testing.assert_close(together, fast)
    alone = supernet.with_drop_block(0.3, generators(6)).forward({k: v[1] for k, v in stacked.items()}, x[1], arch)
    torch.testing.assert_close(alone, together[1])
    assert not torch.allclose(together, supernet.forward_tasks(stacked, x, arch))


def gradient(first: int, count: int, batched: bool, **options: object):
    """Return the meta-gradient over tasks of a batch of four, float64."""
    space = ResNet12(ResNet12Options(base_width=1))
    supernet, arch = space.supernet((1, 24, 24), 3), space.reference()
    learner = MAML(MAMLPlusPlusOptions(inner_steps=2, batch_below_gflop=1.0 if batched else 0.0, **options))
    state = {k: v.double() for k, v in learner.init(supernet, torch.Generator().manual_seed(0)).items()}
    generator = torch.Generator().manual_seed(1)
    x = torch.rand(4, 9, 1, 24, 24, generator=generator, dtype=torch.float64)
    y = torch.arange(3).repeat(4, 3)
    tasks = slice(first, first + count)
    episodes = Episodes(support_x=x[tasks, :3], support_y=y[tasks, :3], query_x=x[tasks, 3:], query_y=y[tasks, 3:])
    noise = tuple(range(100 + first, 100 + first + count))
    progress = Progress(iteration=0, iterations_per_epoch=1, epochs=1, noise=noise)
    return learner.gradient(supernet, state, episodes, arch, progress)[0], learner.score(
        supernet, state, episodes, arch
    )


@pytest.mark.parametrize("first_order_epochs", [0, 5])
def test_a_meta_gradient_does_not_depend_on_how_tasks_are_cut_or_batched(first_order_epochs):
    how = {"drop_block": 0.3, "first_order_epochs": first_order_epochs, "multi_step_loss": False}
    whole, scores = gradient(0, 4, True, **how)
    parts = [gradient(0, 1, False, **how)[0], gradient(1, 3, False, **how)[0]]
    without, plain_scores = gradient(0, 4, True, **(how | {"drop_block": 0.0}))
    for name, value in whole.items():
        torch.testing.assert_close(parts[0][name] + parts[1][name], value, rtol=1e-6, atol=1e-9)
    assert not torch.allclose(whole["params/fc.weight"], without["params/fc.weight"])
    assert torch.equal(scores.loss, plain_scores.loss)  # nothing is dropped when a network is scored


def test_a_space_without_it_is_refused_at_the_start():
    learner = MAML(MAMLPlusPlusOptions(drop_block=0.1))
    with pytest.raises(ConfigError, match="VGG9SuperNet has no DropBlock") as caught:
        learner.init(VGG9().supernet((1, 28, 28), 5), torch.Generator())
    assert "learner.drop_block=0" in (caught.value.hint or "")
