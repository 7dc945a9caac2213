"""One architecture alone is what it was in the super-net: the same network, the same training, the same state."""

from __future__ import annotations

from copy import copy
from typing import Any

import numpy as np
import pytest
import torch
from attrs import evolve
from tiny_tasks import tiny_setup

from hnas import Architecture, NormStats, Progress
from hnas.discovery import Registry
from hnas.learner import State
from hnas_app.training.setup.setup import Setup
from hnas_app.training.setup.subnet import subnet, warm_start


def architectures(setup: Setup) -> list[Architecture]:
    """A narrow and shallow one, the largest, and three drawn ones."""
    space = setup.space
    narrow = space.architecture(depth=2, kernel1=3, kernel2=1, scale1=0.5, scale2=0.75, activation2="elu")
    return [narrow, space.largest(), *(space.sample(np.random.default_rng(i)) for i in range(3))]


NAMES = ["narrow", "largest", "drawn 0", "drawn 1", "drawn 2"]
of_each = pytest.mark.parametrize("which", range(5), ids=NAMES)


def inherited(setup: Setup, arch: Architecture, state: State) -> tuple[Any, State]:
    """Return the network alone and its state, made of the super-net's."""
    alone = subnet(setup.supernet, arch)
    fresh = setup.learner.init(alone, torch.Generator().manual_seed(1))
    return alone, warm_start(setup.learner, setup.supernet, state, arch, fresh)


def trained(setup: Setup) -> State:
    """Return a state in which every tensor differs from a fresh one."""
    generator = torch.Generator().manual_seed(5)
    state = setup.learner.init(setup.supernet, generator)
    for name, value in state.items():
        noise = torch.rand(value.shape, generator=generator)
        state[name] = value + (0.1 if name.startswith("lslr/") else 0.5) * noise
    return {k: torch.zeros_like(v) if k.startswith("outer/") else v for k, v in state.items()}


def shared(setup: Setup, arch: Architecture, params: State) -> State:
    return setup.supernet.share({k: params[f"params/{k}"] for k in setup.supernet.roles}, arch)


def test_a_space_s_own_methods_are_there() -> None:
    """A learner of the space's calls them: they vanished when its network was trained alone, after hours."""
    setup = tiny_setup()
    setup.supernet.temperature = lambda arch: 0.5  # type: ignore[attr-defined]
    alone = copy(subnet(setup.supernet, setup.space.largest()))
    assert alone.temperature(setup.space.largest()) == 0.5
    with pytest.raises(AttributeError, match="no attribute 'pressure'"):
        _ = alone.pressure


@of_each
def test_it_is_the_same_network(which: int) -> None:
    """Forward of one task and of many, statistics, parameters, size: an export or a test of it speaks of the same."""
    setup = tiny_setup()
    arch = architectures(setup)[which]
    alone = subnet(setup.supernet, arch)
    params = setup.supernet.init(torch.Generator().manual_seed(0))
    own = setup.supernet.share(params, arch)
    assert list(alone.roles) == list(own)
    assert all(alone.roles[k] == setup.supernet.roles[k] for k in own)
    x = torch.randn(2, 5, 1, 8, 8, generator=torch.Generator().manual_seed(1))
    mine, theirs = NormStats("collect"), NormStats("collect")
    torch.testing.assert_close(
        alone.forward(alone.share(own, arch), x[0], arch, stats=mine),
        setup.supernet.forward(own, x[0], arch, stats=theirs),
    )
    assert mine.mean.keys() == theirs.mean.keys()
    stacked = {k: v.expand(2, *v.shape) for k, v in own.items()}
    torch.testing.assert_close(alone.forward_tasks(stacked, x, arch), setup.supernet.forward_tasks(stacked, x, arch))
    assert alone.macs(arch) == setup.supernet.macs(arch)
    assert alone.task_batched == setup.supernet.task_batched
    fresh = alone.init(torch.Generator().manual_seed(0))
    assert {k: v.shape for k, v in fresh.items()} == {k: v.shape for k, v in own.items()}
    assert all(v.is_contiguous() and v._base is None for v in fresh.values())  # no view that keeps the super-net


@of_each
def test_a_warm_start_scores_as_in_the_super_net(which: int) -> None:
    """Weights, rates and statistics: with running statistics, too, of which it has the first channels only."""
    setup = tiny_setup(statistics="running")
    arch = architectures(setup)[which]
    state = trained(setup)
    alone, own = inherited(setup, arch, state)
    episodes = setup.episodes("test", "t", range(4), 3)
    in_supernet = setup.learner.score(setup.supernet, state, episodes, arch)
    torch.testing.assert_close(setup.learner.score(alone, own, episodes, arch).loss, in_supernet.loss)
    assert {k for k in own if k.startswith("outer/")} == {
        f"outer/{part}/{k}" for part in ("mean", "square", "steps") for k in own if k.startswith(("params/", "lslr/"))
    }
    assert not any(v.any() for k, v in own.items() if k.startswith("outer/"))


@of_each
@pytest.mark.parametrize("name", ["meta-sgd", "alfa", "l2f", "anil", "reptile"])
def test_a_warm_start_keeps_what_other_learners_know(name: str, which: int) -> None:
    """A rate of each weight is sliced as the weight is: a 3×3 kernel's lies in the middle, not in the corner."""
    setup = evolve(tiny_setup(), learner=Registry(third_party=False).create("learner", name, {"inner_steps": 2}))
    arch = architectures(setup)[which]
    state = trained(setup)
    alone, own = inherited(setup, arch, state)
    episodes = setup.episodes("test", "t", range(4), 3)
    in_supernet = setup.learner.score(setup.supernet, state, episodes, arch)
    torch.testing.assert_close(setup.learner.score(alone, own, episodes, arch).loss, in_supernet.loss)


def test_a_warm_start_leaves_the_super_net_alone() -> None:
    """Training in place must not reach back into the weights that other networks are tested with."""
    setup = tiny_setup()
    state = trained(setup)
    before = {k: v.clone() for k, v in state.items()}
    _, own = inherited(setup, setup.space.largest(), state)
    for value in own.values():
        value += 1
    assert all(torch.equal(state[k], v) for k, v in before.items())


@of_each
def test_it_trains_as_the_super_net_does_restricted_to_it(which: int) -> None:
    """Four outer steps on the same tasks, first and second order: weights, rates and statistics stay the same."""
    setup = tiny_setup()
    arch = architectures(setup)[which]
    state = {k: v.double() for k, v in trained(setup).items()}
    alone, own = inherited(setup, arch, state)
    own = {k: v.double() for k, v in own.items()}
    for iteration in range(4):
        progress = Progress(iteration=iteration, iterations_per_epoch=2, epochs=2)
        drawn = setup.episodes("train", "t", range(2 * iteration, 2 * iteration + 2), 2)
        episodes = type(drawn)(
            support_x=drawn.support_x.double(),
            support_y=drawn.support_y,
            query_x=drawn.query_x.double(),
            query_y=drawn.query_y,
        )
        for network, its in ((setup.supernet, state), (alone, own)):
            gradient, _ = setup.learner.gradient(network, its, episodes, arch, progress)
            setup.learner.update(its, gradient, 2, progress)
    restricted = shared(setup, arch, state)
    for name, value in restricted.items():
        torch.testing.assert_close(own[f"params/{name}"], value, rtol=1e-6, atol=1e-8)
    for name, value in own.items():
        if name.startswith("lslr/"):
            torch.testing.assert_close(value, state[name], rtol=1e-6, atol=1e-8)
        if name.startswith("stats/"):
            torch.testing.assert_close(value, state[name][:, : value.shape[1]], rtol=1e-6, atol=1e-8)
