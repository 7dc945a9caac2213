"""Fixed statistics: what a network says of an image depends on the image, not on what else is in the batch."""

from __future__ import annotations

import attrs
import torch
from tiny_tasks import tiny_setup

from hnas import MetaLearner
from hnas.episode import Episodes
from hnas.learner import State
from hnas_app.export.classifier import classifier
from hnas_app.training.fixed_norm import FixedNorm
from hnas_app.training.setup.setup import Setup


def state_of(setup: Setup) -> State:
    return setup.learner.init(setup.supernet, torch.Generator().manual_seed(0))


def crowded(episodes: Episodes) -> Episodes:
    """Return the tasks with their query images among ten times as many bright ones, which are of no class."""
    shape = episodes.query_x.shape
    noise = 5 + torch.rand(shape[0], 10 * shape[1], *shape[2:], generator=torch.Generator().manual_seed(1))
    return attrs.evolve(
        episodes,
        query_x=torch.cat([episodes.query_x, noise], 1),
        query_y=torch.cat([episodes.query_y, episodes.query_y.repeat(1, 10)], 1),
    )


def test_the_other_images_change_no_prediction_and_with_batch_statistics_they_do() -> None:
    setup = tiny_setup()
    state, arch = state_of(setup), setup.space.largest()
    task = setup.episodes("test", "t", [0], 4)
    network = classifier(setup, state, arch, task)
    batch = crowded(task).query_x[0]
    together, alone = network.logits(batch), torch.cat([network.logits(x[None]) for x in batch])
    assert torch.allclose(together, alone, atol=1e-5)
    assert torch.allclose(network.logits(task.query_x[0]), together[: task.query_x.shape[1]], atol=1e-5)
    adapted = setup.learner.adapt(setup.supernet, state, task, arch)
    free = [
        setup.supernet.forward_tasks(adapted, x[None], arch)[0, : task.query_x.shape[1]]
        for x in (task.query_x[0], batch)
    ]
    assert not torch.allclose(*free, atol=1e-2)  # or this test could not fail


def test_scores_are_those_of_images_that_come_alone() -> None:
    setup = attrs.evolve(tiny_setup(), learner=FixedNorm(tiny_setup().learner))
    state = state_of(setup)
    for arch in (setup.space.largest(), setup.space.smallest()):
        episodes = setup.episodes("test", "t", range(3), 2)
        scores = setup.learner.score(setup.supernet, state, episodes, arch)
        for t in range(3):
            network = classifier(setup, state, arch, episodes[t : t + 1])
            logits = torch.cat([network.logits(x[None]) for x in episodes.query_x[t]])
            loss = torch.nn.functional.cross_entropy(logits, episodes.query_y[t])
            assert torch.allclose(scores.loss[t], loss, atol=1e-5)
            assert scores.accuracy[t] == (logits.argmax(1) == episodes.query_y[t]).float().mean()


def test_on_the_support_images_both_kinds_of_statistics_are_the_same() -> None:
    """They are the statistics of just these images."""
    setup = tiny_setup()
    state, arch, episodes = state_of(setup), setup.space.largest(), setup.episodes("test", "t", range(2), 1)
    ours = FixedNorm(setup.learner).score(setup.supernet, state, episodes, arch, on="support")
    theirs = setup.learner.score(setup.supernet, state, episodes, arch, on="support")
    assert torch.allclose(ours.loss, theirs.loss, atol=1e-5)


def test_training_is_left_to_the_learner() -> None:
    setup = tiny_setup()
    fixed = FixedNorm(setup.learner)
    made, plain = fixed.init(setup.supernet, torch.Generator().manual_seed(0)), state_of(setup)
    assert all(torch.equal(made[k], v) for k, v in plain.items())


def test_whatever_a_learner_may_override_is_passed_on() -> None:
    """With a default in place of the learner's own, pictures would be adapted to by another learner."""
    fixed = FixedNorm(tiny_setup().learner)
    public = {name for name in vars(MetaLearner) if not name.startswith("_")}
    assert public - vars(FixedNorm).keys() - vars(fixed).keys() == set()
