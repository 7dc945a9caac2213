"""One vector of the classifier, copied for each class: as in a plain loop, whatever the classes' order and number."""

from __future__ import annotations

import attrs
import pytest
import torch
from torch.nn import functional as F

FIRST = {"epoch": 0, "derivative_order_annealing": True, "multi_step_loss": False}
SECOND = {"epoch": 1, "multi_step_loss": True}
HEAD = ("params/fc.weight", "params/fc.bias")


def drawn(shape, seed):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.fixture
def shared_problem(make_problem):
    """Return a function that makes a problem whose classes all start at one vector, which is not 0."""

    def make(kind="smooth", **options):
        problem = make_problem(kind, classifier="shared", **options)
        for seed, name in enumerate(HEAD):
            problem.state[name] = drawn(problem.state[name].shape, seed)
        return problem

    return make


def plain_loop(problem):
    """Return the query losses of a loop in plain torch that copies the vector, and their sum's gradients."""
    start = {k: v.clone().requires_grad_() for k, v in problem.state.items() if k.startswith(("params/", "lslr/"))}
    options, e, losses, total = problem.options, problem.episodes, [], 0.0
    first_order = problem.epoch < options.first_order_epochs and options.derivative_order_annealing
    early = max((1 - problem.epoch / 4) / 3, 0.01) if options.multi_step_loss else 0.0
    for x, y, query_x, query_y in zip(e.support_x, e.support_y, e.query_x, e.query_y, strict=True):
        n_way = int(y.max()) + 1
        weights = {k: v for k, v in problem.weights(start).items() if not k.startswith("fc")}
        channels = weights["conv3.weight"].shape[0]
        weights["fc.weight"] = torch.cat([start["params/fc.weight"][:, :channels]] * n_way)
        weights["fc.bias"] = torch.cat([start["params/fc.bias"]] * n_way)
        for step, share in enumerate((early, early, 1 - 2 * early)):
            norms = problem.norms(start, step)
            loss = F.cross_entropy(problem.forward(weights | norms, x), y)
            found = torch.autograd.grad(loss, list(weights.values()), create_graph=not first_order, retain_graph=True)
            steps = zip(weights.items(), found, strict=True)
            factor = {"fc.weight": n_way / 5, "fc.bias": n_way / 5}
            weights = {k: w - factor.get(k, 1.0) * start[f"lslr/{k}"][step] * g for (k, w), g in steps}
            loss = F.cross_entropy(problem.forward(weights | norms, query_x), query_y)
            total = total + share * loss
        losses.append(loss.detach())
    found = torch.autograd.grad(total, list(start.values()), allow_unused=True)
    return torch.stack(losses), {k: g for k, g in zip(start, found, strict=True) if g is not None}


@pytest.mark.parametrize("order", [FIRST, SECOND], ids=["first", "second"])
@pytest.mark.parametrize("kind", ["smooth", "linear"])
def test_gradients_are_those_of_a_loop_that_copies_the_vector(shared_problem, kind, order, way, path):
    problem = shared_problem(kind, **order, **way)
    gradient, scores = problem.gradient()
    losses, expected = plain_loop(problem)
    torch.testing.assert_close(scores.loss, losses, rtol=1e-6, atol=1e-6)
    for name, value in expected.items():
        found = gradient.get(name, torch.zeros_like(value))
        torch.testing.assert_close(found, value, rtol=1e-6, atol=1e-6, msg=lambda told, name=name: f"{name}: {told}")


def test_the_vector_is_not_seen_by_a_softmax_and_stays_as_it_is(shared_problem, way, path):
    """In Adam the rounding that is left of its gradient would become whole steps, other ones with other workers."""
    problem = shared_problem(**SECOND, **way)
    _, expected = plain_loop(problem)
    assert all(expected[name].abs().max() < 1e-12 for name in HEAD)
    gradient, scores = problem.gradient()
    assert gradient.keys().isdisjoint(HEAD)
    before = {name: problem.state[name].clone() for name in HEAD}
    for name in HEAD:
        problem.state[name] = drawn(problem.state[name].shape, 7)
    torch.testing.assert_close(problem.gradient()[1].loss, scores.loss, rtol=1e-9, atol=1e-9)
    problem.state.update(before)
    problem.learner.update(problem.state, gradient, 2, problem.progress)
    assert all(torch.equal(problem.state[name], before[name]) for name in HEAD)


@pytest.mark.parametrize("order", [FIRST, SECOND], ids=["first", "second"])
def test_the_order_of_the_classes_changes_nothing(shared_problem, make_problem, order, way, path):
    def losses(problem):
        e = problem.episodes
        other = attrs.evolve(e, support_y=(e.support_y + 1) % 3, query_y=(e.query_y + 1) % 3)
        gradients, scores = zip(problem.gradient(), problem.gradient(other), strict=True)
        scored = [problem.learner.score(problem.supernet, problem.state, x, problem.arch) for x in (e, other)]
        return gradients, [s.loss for s in scores], [s.loss for s in scored]

    (one, two), trained, scored = losses(shared_problem(**order, **way))
    torch.testing.assert_close(trained[1], trained[0])
    torch.testing.assert_close(scored[1], scored[0])
    assert one.keys() == two.keys()
    for name in one:
        torch.testing.assert_close(two[name], one[name])
    _, trained, _ = losses(make_problem(**order, **way))
    assert not torch.allclose(trained[1], trained[0], rtol=1e-3)  # at outputs of their own it does


def test_a_class_goes_as_far_in_a_step_whatever_the_number_of_classes(shared_problem, path):
    """Its share of the images falls with the number: 20 classes would hardly be told apart after steps made for 5."""
    problem, images = shared_problem(inner_steps=1), drawn((1, 1, 1, 7, 6), 11)
    problem.state["lslr/fc.bias"] = torch.tensor([0.5], dtype=torch.float64)
    for n_way in (2, 5, 20):
        x, y = images.expand(1, n_way, 1, 7, 6), torch.arange(n_way)[None]
        y = torch.where(y == n_way - 1, 0, y)  # the last class has no image
        tasks = attrs.evolve(problem.episodes, support_x=x, support_y=y, query_x=x, query_y=y)
        supernet = problem.space.supernet((1, 7, 6), n_way)
        bias = problem.learner.adapt(supernet, problem.state, tasks, problem.arch)["fc.bias"][0]
        torch.testing.assert_close((bias[0] - bias[-1]).item(), 2 * 0.5 / 5)  # two images more of the n_way


@pytest.mark.parametrize("n_way", [2, 6])
def test_tasks_of_other_numbers_of_classes_are_served(shared_problem, n_way, way, path):
    problem = shared_problem(**SECOND, **way)
    labels = torch.arange(n_way).repeat_interleave(2).expand(2, -1).contiguous()
    images = [drawn((2, 2 * n_way, 1, 7, 6), seed) for seed in (11, 12)]
    problem.episodes = attrs.evolve(
        problem.episodes, support_x=images[0], support_y=labels, query_x=images[1], query_y=labels
    )
    problem.supernet = problem.space.supernet((1, 7, 6), n_way)
    losses, _ = plain_loop(problem)
    torch.testing.assert_close(problem.gradient()[1].loss, losses, rtol=1e-6, atol=1e-6)
    scores = problem.learner.score(problem.supernet, problem.state, problem.episodes, problem.arch)
    torch.testing.assert_close(scores.loss, losses, rtol=1e-5, atol=1e-5)
    assert scores.accuracy.shape == (2,)


def test_rates_of_the_vector_s_elements_are_one_vector(shared_problem, path):
    """A learner keeps them in the shape that `init` gives, and slices them by `share`."""
    problem = shared_problem(tasks=2)
    supernet, e = problem.supernet, problem.episodes
    weights, norm = problem.weights(problem.state), problem.norms(problem.state, 0)
    learnt = {k: drawn(v.shape, 3).abs() / 10 for k, v in supernet.init(torch.Generator()).items()}
    rates = {k: v[None] for k, v in supernet.share(learnt, problem.arch).items() if k in weights}
    adapted = supernet.descend(weights, [norm], rates, e.support_x, e.support_y, problem.arch)
    for t in range(2):
        leaves = {k: v.clone().requires_grad_() for k, v in weights.items()}
        loss = F.cross_entropy(problem.forward(leaves | norm, e.support_x[t]), e.support_y[t])
        found = dict(zip(leaves, torch.autograd.grad(loss, list(leaves.values())), strict=True))
        one = learnt["fc.weight"][0, : weights["fc.weight"].shape[1]]
        torch.testing.assert_close(adapted["fc.weight"][t], leaves["fc.weight"] - one * found["fc.weight"])
        torch.testing.assert_close(adapted["fc.bias"][t], leaves["fc.bias"] - learnt["fc.bias"] * found["fc.bias"])
