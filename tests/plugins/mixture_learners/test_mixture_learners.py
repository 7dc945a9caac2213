"""Learners by architecture weights: T-NAS by finite differences, BASE's samples, and DARTS's steps by hand."""

from __future__ import annotations

from typing import Any

import attrs
import pytest
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from hnas import ConfigError, Episodes, Progress, SearchSpace
from hnas.learner import Gradient, State
from hnas.seeds import Seeds
from hnas.testing import TinySpace, TinyTasks
from hnas_app.training.setup.setup import Setup
from hnas_plugins.meta_learners.maml import MAML
from hnas_plugins.meta_learners.options import MAMLOptions
from hnas_plugins.mixture_learners.base import SampledMixture, base, gumbel
from hnas_plugins.mixture_learners.darts import darts
from hnas_plugins.mixture_learners.options import BASEOptions, DARTSOptions, TNASOptions
from hnas_plugins.mixture_learners.t_nas import t_nas
from hnas_plugins.spaces.darts import Darts, DartsOptions

STEP = 1e-6


def tiny() -> TinySpace:
    return TinySpace(depth=2, widths=(2, 4), acts=("elu", "sigmoid"), norm=True, relaxed=True)


def set_up(learner: Any, space: SearchSpace | None = None, k_shot: int = 1) -> tuple[Setup, State, Episodes]:
    """Return a set-up, its state in float64 with parameters away from zeros, and two tasks."""
    setup = Setup(space=space or tiny(), learner=learner, tasks=TinyTasks(), n_way=3, k_shot=k_shot, seeds=Seeds(0))
    generator = torch.Generator().manual_seed(1)
    state = {k: v.double() for k, v in setup.fresh_state("start").items()}
    for name in state:
        if name.startswith("params/"):
            state[name] = state[name] + 0.1 * torch.randn(state[name].shape, generator=generator).double()
    e = setup.episodes("train", "tasks", range(2), 2)
    return setup, state, attrs.evolve(e, support_x=e.support_x.double(), query_x=e.query_x.double())


def arch_weights(setup: Setup) -> list[str]:
    return [k for k, role in setup.supernet.roles.items() if role == "arch"]


def gradient(setup: Setup, state: State, tasks: Episodes, noise: tuple[int, ...] = ()) -> tuple[Gradient, float]:
    progress = Progress(iteration=0, iterations_per_epoch=1, epochs=1, noise=noise)
    found, scores = setup.learner.gradient(setup.supernet, state, tasks, setup.space.largest(), progress)
    return found, float(scores.loss.sum())


@pytest.mark.parametrize("space", [None, Darts(DartsOptions(channels=2, cells=3, mixed=True))], ids=["tiny", "darts"])
def test_t_nas_learns_architecture_weights_by_their_numerical_gradient(space):
    """Through the inner loop of both, and whatever architecture an iteration draws, here the largest."""
    options = TNASOptions(inner_steps=1, second_order=True, arch_lr=3.0)
    setup, state, tasks = set_up(t_nas(options), space)
    names = [f"params/{k}" for k in arch_weights(setup)]
    rates = {k: 3.0 if f"params/{k}" in names else 0.1 for k, role in setup.supernet.roles.items() if role != "norm"}
    assert {k: float(state[f"lslr/{k}"][0]) for k in rates} == pytest.approx(rates)
    found, _ = gradient(setup, state, tasks)
    generator = torch.Generator().manual_seed(2)
    way = {k: torch.randn(state[k].shape, generator=generator).double() for k in names}
    losses = [gradient(setup, state | {k: state[k] + s * v for k, v in way.items()}, tasks)[1] for s in (STEP, -STEP)]
    slope = sum(float((found[k] * v).sum()) for k, v in way.items())
    assert abs(slope) > 1e-4
    assert slope == pytest.approx((losses[0] - losses[1]) / (2 * STEP), rel=1e-4)


def test_t_nas_proposes_what_each_task_s_weights_decode_to():
    setup, state, tasks = set_up(t_nas(TNASOptions(inner_steps=2)))
    adapted = setup.learner.adapt(setup.supernet, state, tasks, setup.supernet.relaxed)
    assert all(not torch.equal(*adapted[k]) for k in arch_weights(setup))
    assert setup.learner.proposes
    found = setup.learner.propose(setup.space, setup.supernet, state, tasks)
    assert found == setup.supernet.decode(adapted)
    assert not MAML(MAMLOptions()).proposes


def test_the_largest_gumbel_share_is_a_sample_of_the_softmax():
    theta, generator = torch.tensor([1.0, 0.0, -1.0, 2.0]), torch.Generator().manual_seed(0)
    counts = (theta + gumbel((50_000, 4), generator)).argmax(-1).bincount(minlength=4)
    # 0.0067 are three standard deviations at the most
    torch.testing.assert_close(counts / 50_000, theta.softmax(0), atol=0.0067, rtol=0)


def shares(options: BASEOptions, theta: Tensor, seeds: tuple[int, ...]) -> Tensor:
    """Return the shares of operations (T, …) that a pass mixes by."""
    generators = [torch.Generator().manual_seed(seed) for seed in seeds]
    return SampledMixture(options)._relaxed(theta, generators, True).softmax(-1)


def test_a_low_temperature_gives_one_operation_all():
    """To the last bit, with noise and without; a high one gives all the same."""
    theta = torch.tensor([[0.1, 0.3, 0.2]]).expand(400, 1, 3)
    for relaxation in ("softmax", "gumbel"):
        low, high = (
            shares(BASEOptions(relaxation=relaxation, temperature=t), theta, tuple(range(400)))[:, 0]
            for t in (1e-6, 1e6)
        )
        assert bool((low.max(-1).values == 1).all())
        torch.testing.assert_close(high, torch.full_like(high, 1 / 3), atol=1e-4, rtol=0)
        counts = low.sum(0) / 400
        expected = torch.tensor([0.0, 1.0, 0.0]) if relaxation == "softmax" else theta[0, 0].softmax(0)
        torch.testing.assert_close(counts, expected, atol=0.08, rtol=0)


def test_base_with_softmax_at_temperature_1_is_t_nas():
    one, state, tasks = set_up(base(BASEOptions(relaxation="softmax", inner_steps=2)))
    two, _, _ = set_up(t_nas(TNASOptions(inner_steps=2)))
    for a, b in zip(*(gradient(s, state, tasks)[0].items() for s in (one, two)), strict=True):
        assert a[0] == b[0]
        torch.testing.assert_close(a[1], b[1])
    cold, _, _ = set_up(base(BASEOptions(relaxation="softmax", inner_steps=2, temperature=0.5)))
    assert gradient(cold, state, tasks)[1] != pytest.approx(gradient(two, state, tasks)[1], rel=1e-6)


def test_noise_is_each_task_s_own_and_of_training_alone():
    setup, state, tasks = set_up(base(BASEOptions(inner_steps=1)))
    (one, loss), (same, _), (_, other) = (gradient(setup, state, tasks, n) for n in ((1, 2), (1, 2), (3, 2)))
    for name, value in one.items():
        assert torch.equal(value, same[name])
    assert loss != other
    with pytest.raises(ValueError, match="a seed for each of 2 tasks, got 0"):
        gradient(setup, state, tasks)
    scores = [setup.learner.score(setup.supernet, state, tasks, setup.supernet.relaxed) for _ in range(2)]
    assert torch.equal(scores[0].loss, scores[1].loss)


@pytest.mark.parametrize("k_shot", [1, 3])
def test_darts_descends_on_architecture_weights_and_on_weights_in_turn(k_shot):
    """Written out: with three images of a class, the last is θ's, and the first two are w's; a single one is both's."""
    setup, state, tasks = set_up(darts(DARTSOptions(inner_steps=2, arch_lr=2.0)), k_shot=k_shot)
    supernet = setup.supernet
    found = setup.learner.adapt(supernet, state, tasks, supernet.relaxed)
    own = arch_weights(setup)
    for t in range(2):
        weights = {k: state[f"params/{k}"].clone() for k in supernet.roles}
        for names, rate, shots in (
            (own, 2.0, [2]),
            ([k for k in weights if supernet.roles[k] == "weight"], 0.1, [0, 1]),
        ):
            picked = [c * k_shot + s for c in range(3) for s in (shots if k_shot == 3 else [0])]
            leaves = {k: v.requires_grad_() for k, v in weights.items()}
            logits = supernet.forward(
                supernet.share(leaves, supernet.relaxed), tasks.support_x[t, picked], supernet.relaxed
            )
            loss = cross_entropy(logits, tasks.support_y[t, picked])
            steps = dict(zip(names, torch.autograd.grad(loss, [leaves[k] for k in names]), strict=True))
            weights = {k: (v - rate * steps[k] if k in steps else v).detach() for k, v in leaves.items()}
        for name, value in weights.items():
            torch.testing.assert_close(found[name][t], value, msg=lambda told, name=name: f"{name}: {told}")


def test_darts_trains_a_discrete_network_as_maml_does_and_learns_nothing_of_other_tasks():
    setup, state, tasks = set_up(darts(DARTSOptions(inner_steps=3)), k_shot=3)
    maml, theirs, _ = set_up(MAML(MAMLOptions(inner_steps=3)))
    arch = setup.space.largest()
    shared = {k: v for k, v in state.items() if k.startswith("params/")}
    one = setup.learner.adapt(setup.supernet, state, tasks, arch)
    two = maml.learner.adapt(maml.supernet, theirs | shared, tasks, arch)
    for name, value in two.items():
        torch.testing.assert_close(one[name], value)
    found, _ = gradient(setup, state, tasks)
    before = {k: v.clone() for k, v in shared.items()}
    setup.learner.update(state, found, 2, Progress(iteration=0, iterations_per_epoch=1, epochs=1))
    assert all(torch.equal(state[k], v) for k, v in before.items())


@pytest.mark.parametrize(
    "make", [lambda: t_nas(TNASOptions()), lambda: base(BASEOptions()), lambda: darts(DARTSOptions())]
)
def test_a_space_without_a_mixture_is_refused(make):
    with pytest.raises(ConfigError, match="TinySuperNet has no relaxed network, which the learner searches") as caught:
        set_up(make(), TinySpace())
    assert "space.mixed=true" in str(caught.value.hint)


@pytest.mark.parametrize("make", [t_nas, base])
def test_a_penalty_adds_the_expected_cost_to_the_loss_of_a_task(make):
    """A step by hand, by autograd: of the support loss, and the sum of softmax(θ) × prices."""
    options = TNASOptions(inner_steps=1, arch_lr=2.0) if make is t_nas else BASEOptions(inner_steps=1, arch_lr=2.0)
    setup, state, tasks = set_up(make(options))
    supernet, generator = setup.supernet, torch.Generator().manual_seed(3)
    own = arch_weights(setup)
    prices = {k: torch.rand(state[f"params/{k}"].shape, generator=generator) for k in own}
    learner = setup.learner.with_prices(prices)
    assert learner is not None
    found = learner.adapt(supernet, state, tasks, supernet.relaxed)
    assert learner.propose(setup.space, supernet, state, tasks) == supernet.decode(found)
    for t in range(2):
        leaves = {k: state[f"params/{k}"].clone().requires_grad_() for k in supernet.roles}
        logits = supernet.forward(supernet.share(leaves, supernet.relaxed), tasks.support_x[t], supernet.relaxed)
        cost = sum((leaves[k].softmax(-1) * prices[k].double()).sum() for k in own)
        steps = torch.autograd.grad(cross_entropy(logits, tasks.support_y[t]) + cost, [leaves[k] for k in own])
        for name, step in zip(own, steps, strict=True):
            torch.testing.assert_close(found[name][t], (leaves[name] - 2.0 * step).detach())
    assert MAML(MAMLOptions()).with_prices(prices) is None


def test_darts_without_a_step_on_weights_is_refused():
    with pytest.raises(ConfigError, match="inner_steps=1 leaves darts no step on weights"):
        set_up(darts(DARTSOptions(inner_steps=1)))


@pytest.mark.parametrize(
    ("options", "wrong"),
    [
        (BASEOptions, {"temperature": 0.0}),
        (BASEOptions, {"relaxation": "hard"}),
        (DARTSOptions, {"inner_steps": 0}),
        (DARTSOptions, {"learned_rates": True}),
        (TNASOptions, {"arch_lr": -1.0}),
    ],
)
def test_wrong_options_are_refused_by_name(options, wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        options(**wrong)
