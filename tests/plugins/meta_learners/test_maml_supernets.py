"""What helps sub-networks to share weights: inner rates scaled by fan-in, and distillation."""

import attrs
import pytest
import torch

from hnas.toolkit.learning import adam_state
from hnas_plugins.meta_learners.maml import MAML

# The network of the "smooth" problem at base width 3: 3x3 to 2 channels, 1x1 to 4 (1.5 x 3, rounded to even), 5x5 to 3.
RATIOS = {
    "conv1.weight": 1.0,  # 3x3 of the image's channels, as the reference has
    "conv2.weight": 2 / 27,  # 1x1 of 2 channels against 3x3 of 3
    "conv3.weight": 25 * 4 / 27,
    "fc.weight": 1.0,  # 3 channels, the base width
}


@pytest.mark.parametrize(("scaling", "power"), [("head", 0.0), ("sqrt", 0.5), ("linear", 1.0)])
@pytest.mark.parametrize("first_order_epochs", [0, 5])
def test_scaled_rates_are_other_rates(make_problem, way, scaling, power, first_order_epochs):
    """As a learner without scaling whose rates are the products; the derivative by the state follows from that."""
    scaled = make_problem(rate_scaling=scaling, first_order_epochs=first_order_epochs, **way)
    plain = make_problem(first_order_epochs=first_order_epochs, **way)
    factors = {k: v ** (power if k.startswith("conv") else -1) for k, v in RATIOS.items()}
    for name, factor in factors.items():
        plain.state[f"lslr/{name}"] *= factor
    found, scores = scaled.gradient()
    expected, plain_scores = plain.gradient()
    torch.testing.assert_close(scores.loss, plain_scores.loss)
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value * factors.get(name.removeprefix("lslr/"), 1.0))
    assert any(abs(f - 1) > 0.1 for f in factors.values()) or scaling == "head"


def test_inner_rates_may_be_learnt_more_slowly(make_problem):
    """Adam's first step is its rate, whatever the gradient's size."""
    problem = make_problem(rates_lr_factor=0.1)
    problem.state |= adam_state(problem.state, [k for k in problem.state if k.startswith(("params/", "lslr/"))])
    before = {k: v.clone() for k, v in problem.state.items()}
    gradient, _ = problem.gradient()
    problem.learner.update(problem.state, gradient, 2, problem.progress)
    moved = {k: (problem.state[k] - before[k]).abs().max().item() for k in ("params/fc.weight", "lslr/fc.weight")}
    assert moved["lslr/fc.weight"] == pytest.approx(0.1 * moved["params/fc.weight"], rel=1e-3)


def test_the_query_loss_is_shared_between_labels_and_teacher(make_problem, way):
    """The meta-gradient is linear in the share; with all of it, it is that of the cross-entropy with the teacher."""
    parts = [make_problem(distillation=share, **way).gradient()[0] for share in (0.0, 0.5, 1.0)]
    for name in [k for k in parts[0] if k.startswith(("params/", "lslr/"))]:
        torch.testing.assert_close(parts[1][name], (parts[0][name] + parts[2][name]) / 2)
    assert not torch.allclose(parts[0]["params/fc.weight"], parts[2]["params/fc.weight"])


def test_all_from_the_teacher_is_its_cross_entropy(make_problem, way):
    """By a numerical derivative along a direction, the teacher's answers held fixed."""
    problem = make_problem(
        distillation=1.0, multi_step_loss=False, first_order_epochs=0, derivative_order_annealing=False, **way
    )
    e, supernet, learner = problem.episodes, problem.supernet, problem.learner
    largest = problem.space.largest()

    def answers(state, arch):
        learned = MAML(attrs.evolve(problem.options, distillation=0.0))
        params = learned.adapt(supernet, state, e, arch)
        return supernet.forward_tasks(params, e.query_x, arch)

    soft = answers(problem.state, largest).softmax(-1).detach()

    def loss(state):
        return -(soft * answers(state, problem.arch).log_softmax(-1)).sum(-1).mean(-1).sum().item()

    gradient, _ = learner.gradient(supernet, problem.state, e, problem.arch, problem.progress)
    name = "params/conv3.weight"
    direction = torch.randn(problem.state[name].shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    up, down = ({**problem.state, name: problem.state[name] + sign * 1e-6 * direction} for sign in (1, -1))
    assert (gradient[name] * direction).sum().item() == pytest.approx((loss(up) - loss(down)) / 2e-6, rel=1e-5)


def test_the_largest_network_has_no_teacher(make_problem):
    problems = [make_problem(distillation=share) for share in (0.0, 1.0)]
    for problem in problems:
        problem.arch = problem.space.largest()
    gradients = [problem.gradient()[0] for problem in problems]
    assert all(torch.equal(gradients[0][k], gradients[1][k]) for k in gradients[0])


def test_statistics_of_mixed_widths_count_the_tasks_that_had_a_channel(make_problem, way):
    """Two networks share a meta-batch: the first has 2 channels in the first layer, the second 6."""
    problem = make_problem(**way)
    narrow, _ = problem.gradient()
    problem.arch = problem.space.architecture(depth=1, kernel1=1, scale1=2.0)
    wide, _ = problem.gradient()
    both = {k: narrow.get(k, 0) + wide.get(k, 0) for k in narrow | wide}
    before = problem.state["stats/norm1.mean"].clone()
    problem.learner.update(problem.state, both, 4, problem.progress)
    after = problem.state["stats/norm1.mean"]
    sums = narrow["stats/norm1.mean"] + wide["stats/norm1.mean"]
    torch.testing.assert_close(after[:, :2], 0.9 * before[:, :2] + 0.1 * sums[:, :2] / 4)
    torch.testing.assert_close(after[:, 2:6], 0.9 * before[:, 2:6] + 0.1 * wide["stats/norm1.mean"][:, 2:6] / 2)
    assert torch.equal(after[:, 6:], before[:, 6:])
