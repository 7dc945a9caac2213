"""Architecture weights of a super-net's relaxed network: the inner loop adapts them, the outer loop learns them."""

from __future__ import annotations

import attrs
import pytest
import torch

from hnas import Architecture, Episodes, Progress
from hnas.learner import Gradient, State
from hnas.seeds import Seeds
from hnas.testing import TinySpace, TinyTasks
from hnas_app.training.setup.setup import Setup
from hnas_app.training.setup.subnet import warm_start
from hnas_plugins.meta_learners.maml import MAML
from hnas_plugins.meta_learners.options import MAMLOptions, MAMLPlusPlusOptions

STEP = 1e-6
NAMES = {f"{name}.arch" for name in ("depth", "kernel1", "width1", "act1", "kernel2", "width2", "act2")}


def set_up(options: MAMLPlusPlusOptions) -> tuple[Setup, State]:
    """Return a set-up whose super-net has a relaxed network, and a state in float64, its parameters away from zeros."""
    space = TinySpace(depth=2, widths=(2, 4), acts=("elu", "sigmoid"), norm=True, relaxed=True)
    setup = Setup(space=space, learner=MAML(options), tasks=TinyTasks(), n_way=3, k_shot=1, seeds=Seeds(0))
    generator = torch.Generator().manual_seed(1)
    fresh = {k: v.double() for k, v in setup.fresh_state("start").items()}
    noise = {k: torch.randn(v.shape, generator=generator).double() for k, v in fresh.items() if k.startswith("params/")}
    return setup, fresh | {k: fresh[k] + 0.1 * v for k, v in noise.items()}


def tasks(setup: Setup) -> Episodes:
    e = setup.episodes("train", "tasks", range(2), 4)
    return attrs.evolve(e, support_x=e.support_x.double(), query_x=e.query_x.double())


def gradient(setup: Setup, state: State, arch: Architecture) -> tuple[Gradient, float]:
    progress = Progress(iteration=0, iterations_per_epoch=1, epochs=1)
    found, scores = setup.learner.gradient(setup.supernet, state, tasks(setup), arch, progress)
    return found, float(scores.loss.sum())


def test_the_meta_gradient_of_architecture_weights_agrees_with_finite_differences():
    """Through the inner loop, along a direction of architecture weights and their learned inner rates alone."""
    setup, state = set_up(MAMLOptions(inner_steps=2, learned_rates=True))
    arch = setup.supernet.relaxed
    found, _ = gradient(setup, state, arch)
    moved = [f"{part}/{name}" for part in ("params", "lslr") for name in NAMES]
    generator = torch.Generator().manual_seed(2)
    way = {k: torch.randn(state[k].shape, generator=generator).double() for k in moved}
    losses = [gradient(setup, state | {k: state[k] + s * v for k, v in way.items()}, arch)[1] for s in (STEP, -STEP)]
    slope = sum(float((found[k] * v).sum()) for k, v in way.items())
    assert abs(slope) > 1e-3
    assert slope == pytest.approx((losses[0] - losses[1]) / (2 * STEP), rel=1e-5)


@pytest.mark.parametrize("second_order", [True, False])
def test_the_inner_loop_adapts_them(second_order):
    setup, state = set_up(MAMLPlusPlusOptions(inner_steps=2, second_order=second_order, multi_step_loss=False))
    arch = setup.supernet.relaxed
    adapted = setup.learner.adapt(setup.supernet, state, tasks(setup), arch)
    for name in NAMES:
        assert adapted[name].shape == (2, *state[f"params/{name}"].shape)
        assert not torch.equal(adapted[name][0], adapted[name][1])
    found, _ = gradient(setup, state, arch)
    assert {f"params/{name}" for name in NAMES} | {f"lslr/{name}" for name in NAMES} <= set(found)


def test_an_architecture_of_the_space_leaves_them_alone():
    """They neither get a gradient, nor are they in what is adapted, or in a network trained alone."""
    setup, state = set_up(MAMLOptions(inner_steps=1))
    arch = setup.space.largest()
    found, _ = gradient(setup, state, arch)
    adapted = setup.learner.adapt(setup.supernet, state, tasks(setup), arch)
    fresh = attrs.evolve(setup, alone=arch).fresh_state("alone")
    started = warm_start(setup.learner, setup.supernet, state, arch, fresh)
    assert not [k for k in (*found, *adapted, *started) if k.endswith(".arch")]
    before = {name: state[f"params/{name}"].clone() for name in NAMES}
    setup.learner.update(state, found, 2, Progress(iteration=0, iterations_per_epoch=1, epochs=1))
    assert all(torch.equal(state[f"params/{name}"], value) for name, value in before.items())
