"""A super-net for fewer classes: the head's first outputs, and nothing else changes."""

from __future__ import annotations

import attrs
import pytest
import torch
from tiny_tasks import tiny_setup

from hnas.episode import Episodes
from hnas.errors import ConfigError, DataError
from hnas.learner import State
from hnas_app.training.setup.fewer_classes import with_classes
from hnas_app.training.setup.setup import Setup
from hnas_app.training.setup.subnet import subnet, warm_start


def trained(setup: Setup) -> State:
    """Return a state in which no two outputs of the head are alike."""
    generator = torch.Generator().manual_seed(0)
    state = setup.learner.init(setup.supernet, generator)
    return {
        k: v if k.startswith("outer/") else v + 0.1 * torch.rand(v.shape, generator=generator) for k, v in state.items()
    }


def first_two(episodes: Episodes) -> Episodes:
    """Return a task of the first two of three classes."""
    n = 2 * episodes.support_x.shape[1] // 3, 2 * episodes.query_x.shape[1] // 3
    return Episodes(
        support_x=episodes.support_x[:, : n[0]],
        support_y=episodes.support_y[:, : n[0]],
        query_x=episodes.query_x[:, : n[1]],
        query_y=episodes.query_y[:, : n[1]],
    )


def test_its_logits_are_the_first_ones_of_the_whole_head() -> None:
    setup = tiny_setup()
    state = trained(setup)
    fewer, cut = with_classes(setup, state, 2)
    assert fewer.n_way == 2
    x = torch.rand(4, *setup.image_shape, generator=torch.Generator().manual_seed(1))
    for arch in (setup.space.largest(), setup.space.smallest()):
        logits = [
            s.supernet.forward(
                s.supernet.share({k: parts[f"params/{k}"][0] if s.supernet.roles[k] == "norm" else parts[f"params/{k}"]
                                  for k in s.supernet.roles}, arch), x, arch,
            )
            for s, parts in ((setup, state), (fewer, cut))
        ]  # fmt: skip
        assert logits[1].shape == (4, 2)
        assert torch.allclose(logits[0][:, :2], logits[1], atol=1e-6)


def test_it_adapts_as_the_whole_head_would_without_its_last_output() -> None:
    """Rates, statistics and the parameters of each step are cut along, so the inner loop is the same one."""
    setup = tiny_setup()
    state, arch = trained(setup), setup.space.largest()
    state["params/fc.bias"][2] = -1e4  # an output that takes no part in the softmax
    episodes = first_two(setup.episodes("test", "t", range(3), 2))
    fewer, cut = with_classes(setup, state, 2)
    whole = setup.learner.score(setup.supernet, state, episodes, arch)
    scores = setup.learner.score(fewer.supernet, cut, episodes, arch)
    assert torch.allclose(whole.loss, scores.loss, atol=1e-5)
    assert torch.equal(whole.accuracy, scores.accuracy)


def test_all_classes_are_the_super_net_itself() -> None:
    setup = tiny_setup()
    state = trained(setup)
    _, same = with_classes(setup, state, 3)
    assert all(torch.equal(state[k], v) for k, v in same.items())
    assert set(same) == set(state)


def test_a_network_that_was_trained_alone_is_cut_as_well() -> None:
    setup = tiny_setup()
    arch = setup.space.smallest()
    fresh = setup.learner.init(subnet(setup.supernet, arch), torch.Generator().manual_seed(1))
    own = warm_start(setup.learner, setup.supernet, trained(setup), arch, fresh)
    fewer, cut = with_classes(attrs.evolve(setup, alone=arch), own, 2)
    assert torch.equal(cut["params/fc.weight"], own["params/fc.weight"][:2])
    episodes = first_two(setup.episodes("test", "t", range(1), 1))
    assert fewer.learner.score(fewer.supernet, cut, episodes, arch).loss.isfinite().all()


def test_more_classes_are_refused_with_what_to_train() -> None:
    setup = tiny_setup()
    with pytest.raises(ConfigError, match="trained for 3 classes, 4 are asked for") as told:
        with_classes(setup, trained(setup), 4)
    assert "--set task.n_way=4" in (told.value.hint or "")


def test_a_state_of_another_space_is_not_cut_to_something() -> None:
    with pytest.raises(DataError, match=r"expected at least"):
        with_classes(tiny_setup(width=8), trained(tiny_setup(width=4)), 2)
