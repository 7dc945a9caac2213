"""Reptile: its gradient is the way that plain descent on all images of a task went, backwards."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import attrs
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from hnas import Architecture, Episodes, Progress, SuperNet
from hnas.supernet import Params
from hnas_app.cli import run
from hnas_plugins.meta_learners.reptile import ReptileOptions, reptile

AT = Progress(iteration=0, iterations_per_epoch=4, epochs=1)
OPTIONS = ReptileOptions(inner_steps=3, inner_lr=0.2, cosine_annealing=False)


class TwoLogits(SuperNet):
    """Logits (a x, b x) of an image of one pixel x."""

    roles: Mapping[str, Any] = {"w": "weight"}

    def init(self, generator: torch.Generator) -> Params:
        return {"w": torch.tensor([0.5, -0.5])}

    def share(self, params: Params, arch: Architecture) -> Params:
        return {"w": params["w"]}

    def forward(self, shared: Params, x: Tensor, arch: Architecture, *, stats: Any = None) -> Tensor:
        return x.flatten(1) * shared["w"]


def test_two_steps_by_hand() -> None:
    """An image 2 of the first class and an image 1 of the second; ∇L = mean of x (p - y), in numbers."""
    supernet, arch = TwoLogits(), Architecture("two", ())
    learner = reptile(attrs.evolve(OPTIONS, inner_steps=2, inner_lr=0.5))
    state = learner.init(supernet, torch.Generator().manual_seed(0))

    def images(x: float) -> Tensor:
        return torch.full((1, 1, 1, 1, 1), x)

    episodes = Episodes(
        support_x=images(2), support_y=torch.tensor([[0]]), query_x=images(1), query_y=torch.tensor([[1]])
    )
    gradient, scores = learner.gradient(supernet, state, episodes, arch, AT)
    a, b = 0.5, -0.5
    for _ in range(2):
        p2, p1 = (1 / (1 + math.exp((b - a) * x)) for x in (2, 1))  # of the first class
        slope = (2 * (p2 - 1) + 1 * p1) / 2
        a, b = a - 0.5 * slope, b + 0.5 * slope
    assert gradient["params/w"].tolist() == pytest.approx([0.5 - a, -0.5 - b], abs=1e-6)
    assert abs(a - 0.5) > 0.01
    assert set(gradient) == {"params/w"}
    a, b = 0.5, -0.5  # the scores are of a network that did not see the query image
    for _ in range(2):
        slope = 2 * (1 / (1 + math.exp((b - a) * 2)) - 1)
        a, b = a - 0.5 * slope, b + 0.5 * slope
    assert scores.loss.item() == pytest.approx(math.log(1 + math.exp(a - b)), abs=1e-5)
    assert scores.accuracy.item() == 0

    before = state["params/w"].clone()
    learner.update(state, gradient, 1, AT)  # the first step of Adam: the rate, towards the adapted weights
    assert (state["params/w"] - before).tolist() == pytest.approx([-1e-3, 1e-3], rel=1e-3)


def whole(problem: Any) -> tuple[Tensor, Tensor]:
    """Return all images of each task, and their labels."""
    e = problem.episodes
    return torch.cat([e.support_x, e.query_x], 1), torch.cat([e.support_y, e.query_y], 1)


def small_problem(make_problem: Any, **options: Any) -> tuple[Any, Any, Params]:
    """Return a problem of another learner with Reptile's gradient of it, and the weights that it starts from."""
    problem, chosen = make_problem(plain=True), attrs.evolve(OPTIONS, **options)
    learner, state = reptile(chosen), problem.state
    state |= {k: torch.full_like(v, chosen.inner_lr) for k, v in state.items() if k.startswith("lslr/")}
    gradient, _ = learner.gradient(problem.supernet, problem.state, problem.episodes, problem.arch, AT)
    whole_net = {
        k: gradient.get(f"params/{k}", torch.zeros_like(problem.state[f"params/{k}"])) for k in problem.supernet.roles
    }
    return problem, problem.supernet.share(whole_net, problem.arch), problem.weights(problem.state)


def test_the_gradient_is_the_way_back_of_plain_descent(make_problem: Any, path: str) -> None:
    """In float64, to 1e-6, by a network of plain torch; normalisations are not adapted, and get no gradient."""
    problem, found, start = small_problem(make_problem)
    norms = problem.norms(problem.state, 0)
    ways = {k: torch.zeros_like(v) for k, v in start.items()}
    for x, y in zip(*whole(problem), strict=True):
        weights = dict(start)
        for _ in range(3):
            leaves = {k: v.detach().requires_grad_() for k, v in weights.items()}
            loss = F.cross_entropy(problem.forward(leaves | norms, x), y)
            slopes = torch.autograd.grad(loss, list(leaves.values()))
            weights = {k: v.detach() - 0.2 * g for (k, v), g in zip(leaves.items(), slopes, strict=True)}
        ways = {k: ways[k] + start[k] - weights[k] for k in ways}
    for name, way in ways.items():
        torch.testing.assert_close(found[name], way, rtol=1e-6, atol=1e-6)
        assert way.abs().sum() > 1e-3
    assert all(not found[k].any() for k in norms)


def test_one_step_is_joint_training_at_the_inner_rate(make_problem: Any) -> None:
    """The gradient of the sum over tasks of the loss on all their images, times the rate."""
    problem, found, start = small_problem(make_problem, inner_steps=1, inner_lr=0.7)
    leaves = {k: v.detach().requires_grad_() for k, v in start.items()}
    norms = problem.norms(problem.state, 0)
    losses = [F.cross_entropy(problem.forward(leaves | norms, x), y) for x, y in zip(*whole(problem), strict=True)]
    slopes = torch.autograd.grad(torch.stack(losses).sum(), list(leaves.values()))
    for name, slope in zip(leaves, slopes, strict=True):
        torch.testing.assert_close(found[name], 0.7 * slope, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize(
    "option",
    ["second_order=true", "multi_step_loss=true", "learned_rates=true", "per_step_norm=true", "distillation=0.5"],
)
def test_what_it_cannot_do_is_refused_by_name(option: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["config", "show", "--learner", "reptile", "--set", f"learner.{option}"]) == 3
    assert f"learner.{option.partition('=')[0]}" in capsys.readouterr().err


def test_other_numbers_of_steps_for_the_same_state(make_problem: Any) -> None:
    problem = make_problem(plain=True)
    three, one = reptile(OPTIONS), reptile(attrs.evolve(OPTIONS, inner_steps=1))
    gradients = [
        learner.gradient(problem.supernet, problem.state, problem.episodes, problem.arch, AT)[0]
        for learner in (three.with_steps(1), one, three)
    ]
    assert all(torch.equal(v, gradients[1][k]) for k, v in gradients[0].items())
    assert any(not torch.equal(v, gradients[2][k]) for k, v in gradients[0].items())
