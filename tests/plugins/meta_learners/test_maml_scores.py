"""Adapting and scoring: what a search and the final test call, by hand and both ways."""

import pytest
import torch
from torch.nn import functional as F

from hnas_plugins.meta_learners import batching
from hnas_plugins.meta_learners.batching import parts


def adapted_by_hand(problem, task):
    """Return the weights after three gradient steps, with the last step's gamma and beta."""
    e, weights = problem.episodes, problem.weights(problem.state)
    for step in range(3):
        weights = {k: v.detach().requires_grad_() for k, v in weights.items()}
        logits = problem.forward(weights | problem.norms(problem.state, step), e.support_x[task])
        gradients = torch.autograd.grad(F.cross_entropy(logits, e.support_y[task]), list(weights.values()))
        rates = [problem.state[f"lslr/{k}"][step] for k in weights]
        weights = {k: w - r * g for (k, w), r, g in zip(weights.items(), rates, gradients, strict=True)}
    return {k: v.detach() for k, v in (weights | problem.norms(problem.state, 2)).items()}


def call(problem, what, **more):
    return getattr(problem.learner, what)(problem.supernet, problem.state, problem.episodes, problem.arch, **more)


@pytest.mark.parametrize("on", ["query", "support"])
@pytest.mark.parametrize("kind", ["smooth", "linear"])
def test_scores_are_those_of_the_adapted_network(make_problem, kind, on, way, path):
    problem = make_problem(kind, tasks=3, **way)
    e = problem.episodes
    scores = call(problem, "score", on=on)
    images, labels = (e.query_x, e.query_y) if on == "query" else (e.support_x, e.support_y)
    for task in range(3):
        logits = problem.forward(adapted_by_hand(problem, task), images[task])
        torch.testing.assert_close(scores.loss[task], F.cross_entropy(logits, labels[task]))
        assert scores.accuracy[task].item() == pytest.approx((logits.argmax(1) == labels[task]).double().mean().item())


def test_scores_while_training_are_those_of_a_search(make_problem, way, path):
    """A gradient's scores are the query scores after the last step, whatever the loss weights."""
    problem = make_problem(tasks=3, **way)
    scores, training = call(problem, "score"), problem.gradient()[1]
    torch.testing.assert_close(training.loss, scores.loss)
    torch.testing.assert_close(training.accuracy, scores.accuracy)


@pytest.mark.parametrize("kind", ["smooth", "linear"])
def test_adapted_weights_go_into_forward_tasks(make_problem, kind, way, path):
    """An export and a board's check rest on it: one set of weights per task, which give the scores."""
    problem = make_problem(kind, tasks=3, **way)
    params = call(problem, "adapt")
    for task in range(3):
        for name, value in adapted_by_hand(problem, task).items():
            torch.testing.assert_close(params[name][task], value)
    assert not any(v.requires_grad for v in params.values())
    logits = problem.supernet.forward_tasks(params, problem.episodes.query_x, problem.arch)
    losses = (
        F.cross_entropy(logits.flatten(0, 1), problem.episodes.query_y.flatten(), reduction="none").view(3, -1).mean(1)
    )
    torch.testing.assert_close(losses, call(problem, "score").loss)


def test_batched_and_looped_scores_agree(make_problem, path):
    """Also with running statistics, which go another way through the network."""
    for statistics in ("batch", "running"):
        looped, batched = (
            call(make_problem(tasks=4, statistics=statistics, batch_below_gflop=below), "score") for below in (0.0, 1e9)
        )
        torch.testing.assert_close(looped.loss, batched.loss)
        assert torch.equal(looped.accuracy, batched.accuracy)


@pytest.mark.parametrize("statistics", ["batch", "running"])
def test_large_images_are_scored_in_parts(make_problem, path, monkeypatch, statistics):
    """The maps of 25 tasks of 84×84 took 1.2 GB; the adapted weights are those of all tasks together."""
    problem = make_problem(tasks=5, statistics=statistics, batch_below_gflop=1e9)
    together, images = call(problem, "score"), problem.episodes.query_x
    assert parts(images) == [slice(0, 5)]
    monkeypatch.setattr(batching, "PART_BYTES", 2 * images[0].nbytes)
    assert parts(images) == [slice(0, 2), slice(2, 4), slice(4, 5)]
    divided = call(problem, "score")
    torch.testing.assert_close(divided.loss, together.loss, rtol=1e-12, atol=0)
    assert torch.equal(divided.accuracy, together.accuracy)
    monkeypatch.setattr(batching, "PART_BYTES", 1)
    assert len(parts(images)) == 5


@pytest.mark.parametrize("on", ["query", "support"])
def test_a_loss_that_overflows_is_infinite(make_problem, on, way, path):
    """A strategy sorts by loss: NaN would end anywhere, also at the top. The other tasks keep their scores."""
    problem = make_problem(tasks=3, **way)
    good = call(problem, "score", on=on)
    problem.episodes.support_x[1, 1] = torch.inf
    scores = call(problem, "score", on=on)
    assert scores.loss[1] == torch.inf
    torch.testing.assert_close(scores.loss[[0, 2]], good.loss[[0, 2]])


def test_rates_that_are_far_too_large_make_every_loss_infinite(make_problem, way, path):
    """What a wrong ``learner.inner_lr`` does."""
    problem = make_problem(**way)
    for name in [k for k in problem.state if k.startswith("lslr/")]:
        problem.state[name] *= 1e308
    assert call(problem, "score").loss.tolist() == [torch.inf] * 2


def test_small_tasks_are_batched_and_large_ones_are_not(make_problem):
    """By the FLOP of a task's inner loop: 6 a MAC, image and step; a batch of large tasks only costs memory."""
    problem = make_problem()
    gflop = 6e-9 * problem.supernet.macs(problem.arch) * 6 * 3  # six support images, three steps

    def batches(below):
        problem = make_problem(batch_below_gflop=below)
        return problem.learner._batching.is_one(problem.supernet, problem.arch, problem.episodes)

    assert batches(1.01 * gflop)
    assert not batches(0.99 * gflop)


def test_a_super_net_without_a_batched_path_is_looped(make_problem, monkeypatch):
    """A third party implements only the plain forward; it must neither be asked for `macs` nor for task batches."""
    problem, expected = make_problem(batch_below_gflop=1e9), make_problem(batch_below_gflop=0.0).gradient()
    for name in ("macs", "forward_tasks"):
        monkeypatch.setattr(type(problem.supernet), name, None)
    monkeypatch.setattr(problem.supernet, "task_batched", False)
    gradient, _ = problem.gradient()
    for name, value in expected[0].items():
        torch.testing.assert_close(gradient[name], value, equal_nan=True)


def test_queries_are_seen_once_after_the_last_step(make_problem, way, path, monkeypatch):
    """Their loss after the other steps serves no search, and needs no graph."""
    problem = make_problem(tasks=3, **way)
    seen = []
    kind = type(problem.supernet)
    real = kind.forward_tasks

    def watched(self, shared, x, arch, *, stats=None):
        logits = real(self, shared, x, arch, stats=stats)
        if any(torch.equal(x, problem.episodes.query_x[t : t + len(x)]) for t in range(3)):
            seen.append((len(x), logits.requires_grad))
        return logits

    monkeypatch.setattr(kind, "forward_tasks", watched)
    call(problem, "score")
    assert seen == ([(3, False)] if way["batch_below_gflop"] else [(1, False)] * 3)


def test_small_tasks_are_scored_several_at_once(make_problem):
    """A search that leaves losers early goes on by as many: one at a time would cost a small network twice the time."""
    problem = make_problem(tasks=2)
    macs = 6e-9 * 3 * 10 * problem.supernet.macs(problem.arch)  # GFLOP of 3 steps on 10 images
    for below, expected in ((macs * 1.01, True), (macs * 0.99, False)):
        learner = make_problem(tasks=2, batch_below_gflop=below).learner
        assert (learner.tasks_at_once(problem.supernet, problem.arch, 10) > 1) == expected
