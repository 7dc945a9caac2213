"""What MAML++ learns beside the weights: rates, norm parameters and statistics per step; and the outer step."""

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from hnas.toolkit.learning import adam_state, adam_step
from hnas_plugins.meta_learners.options import MAMLPlusPlusOptions


def update(problem, gradient, tasks=2):
    problem.learner.update(problem.state, gradient, tasks, problem.progress)


def batch_statistics(problem, task):
    """Return {layer: (means, variances)} with a row for each support pass, then the query pass after the last step."""
    e, rows = problem.episodes, []
    weights = problem.weights(problem.state)
    for step in range(3):
        record, norms = [], problem.norms(problem.state, step)
        weights = {k: v.detach().requires_grad_() for k, v in weights.items()}
        loss = F.cross_entropy(problem.forward(weights | norms, e.support_x[task], record), e.support_y[task])
        rows.append(record)
        gradients = torch.autograd.grad(loss, list(weights.values()))
        rates = [problem.state[f"lslr/{k}"][step] for k in weights]
        weights = {k: w - r * g for (k, w), r, g in zip(weights.items(), rates, gradients, strict=True)}
    record = []
    problem.forward(weights | problem.norms(problem.state, 2), e.query_x[task], record)
    rows.append(record)
    found = {}
    for i in range(3):
        maps = [r[i].transpose(0, 1).flatten(1) for r in rows]  # (C, N*H*W)
        found[f"norm{i + 1}"] = (
            torch.stack([m.mean(1) for m in maps]),
            torch.stack([m.var(1, correction=0) for m in maps]),
        )
    return found


def test_state_has_what_each_part_needs(make_problem):
    """Names and shapes; checkpoints and workers rest on them."""
    on = make_problem().state
    assert on["params/norm2.weight"].shape == (3, 7)  # BNWB: a row for each inner step
    assert on["params/conv2.weight"].shape == (7, 7, 5, 5)
    assert on["stats/norm2.mean"].shape == on["stats/norm2.var"].shape == (4, 7)  # BNRS: and one for query passes
    assert on["lslr/conv2.weight"].shape == (3,)  # LSLR: one rate for each layer and step
    assert {k for k in on if k.startswith("lslr/")} == {f"lslr/conv{i}.weight" for i in (1, 2, 3, 4)} | {
        "lslr/fc.weight",
        "lslr/fc.bias",
    }
    off = make_problem(plain=True).state
    assert off["params/norm2.weight"].shape == (7,)
    assert not [k for k in off if k.startswith("stats/")]
    trained = {k for k in on if k.startswith(("params/", "lslr/"))}
    assert {k.removeprefix("outer/mean/") for k in on if k.startswith("outer/mean/")} == trained
    assert not [k for k in on if not k.startswith(("params/", "lslr/", "stats/", "outer/"))]


def test_fresh_statistics_and_rates():
    """Means 0, variances 1, and the option's rate: what an untrained network normalises and learns with."""
    from hnas_plugins.meta_learners.maml import MAML
    from hnas_plugins.spaces.vgg9 import VGG9, VGG9Options

    supernet = VGG9(VGG9Options(base_width=2)).supernet((1, 8, 8), 3)
    state = MAML(MAMLPlusPlusOptions(inner_lr=0.25)).init(supernet, torch.Generator().manual_seed(0))
    assert state["lslr/conv1.weight"].tolist() == [0.25] * 5
    assert state["stats/norm1.mean"].eq(0).all()
    assert state["stats/norm1.var"].eq(1).all()
    assert all(v.dtype == torch.float32 for v in state.values())


@pytest.mark.parametrize("kind", ["smooth", "linear"])
def test_running_statistics_move_towards_those_of_the_batch(make_problem, kind, way, path):
    """BNRS by hand: per step, over the images of a task, mean over tasks, momentum 0.1, used channels only."""
    problem = make_problem(kind, **way)
    generator = torch.Generator().manual_seed(3)
    for name in [k for k in problem.state if k.startswith("stats/")]:
        problem.state[name] = torch.rand(problem.state[name].shape, generator=generator, dtype=torch.float64)
    before = {k: v.clone() for k, v in problem.state.items()}
    per_task = [batch_statistics(problem, task) for task in range(2)]
    gradient, _ = problem.gradient()
    update(problem, gradient)
    widths = [block.width for block in problem.space.blocks(problem.arch)]
    for i, width in enumerate(widths, 1):
        for part, suffix in ((0, "mean"), (1, "var")):
            name = f"stats/norm{i}.{suffix}"
            batch = (per_task[0][f"norm{i}"][part] + per_task[1][f"norm{i}"][part]) / 2
            torch.testing.assert_close(problem.state[name][:, :width], 0.9 * before[name][:, :width] + 0.1 * batch)
            assert torch.equal(problem.state[name][:, width:], before[name][:, width:])
    assert torch.equal(problem.state["stats/norm4.mean"], before["stats/norm4.mean"])  # the network has three layers


def test_running_statistics_are_used_where_asked_for(make_problem, way, path):
    """By hand: the row of its step in every support pass, the last row in the query pass; not the batch's own."""
    problem = make_problem(statistics="running", **way)
    generator = torch.Generator().manual_seed(3)
    for name in [k for k in problem.state if k.startswith("stats/")]:
        problem.state[name] = 0.5 + torch.rand(problem.state[name].shape, generator=generator, dtype=torch.float64)

    def row(step):
        widths = enumerate((block.width for block in problem.space.blocks(problem.arch)), 1)
        return [[problem.state[f"stats/norm{i}.{part}"][step, :w] for part in ("mean", "var")] for i, w in widths]

    e, losses = problem.episodes, []
    for task in range(2):
        weights = problem.weights(problem.state)
        for step in range(3):
            weights = {k: v.detach().requires_grad_() for k, v in weights.items()}
            norms = problem.norms(problem.state, step)
            logits = problem.forward(weights | norms, e.support_x[task], given=row(step))
            gradients = torch.autograd.grad(F.cross_entropy(logits, e.support_y[task]), list(weights.values()))
            rates = [problem.state[f"lslr/{k}"][step] for k in weights]
            weights = {k: w - r * g for (k, w), r, g in zip(weights.items(), rates, gradients, strict=True)}
        logits = problem.forward(weights | norms, e.query_x[task], given=row(3))
        losses.append(F.cross_entropy(logits, e.query_y[task]).detach())
    scores = problem.learner.score(problem.supernet, problem.state, problem.episodes, problem.arch)
    torch.testing.assert_close(scores.loss, torch.stack(losses))
    by_batch = make_problem(**way)
    others = by_batch.learner.score(by_batch.supernet, by_batch.state, by_batch.episodes, by_batch.arch)
    assert (scores.loss - others.loss).abs().min() > 1e-3


def test_running_statistics_without_their_part_are_those_of_the_batch(make_problem, way):
    """There are none to use: silently wrong would be zeros and ones."""
    batch, running = (make_problem(per_step_statistics=False, statistics=s, **way) for s in ("batch", "running"))
    scores = [p.learner.score(p.supernet, p.state, p.episodes, p.arch) for p in (batch, running)]
    torch.testing.assert_close(scores[0].loss, scores[1].loss)


def test_rates_are_learnt_only_where_asked_for(make_problem):
    learnt, fixed = make_problem(), make_problem(learned_rates=False)
    for problem in (learnt, fixed):
        before = {k: v.clone() for k, v in problem.state.items() if k.startswith("lslr/")}
        gradient, _ = problem.gradient()
        update(problem, gradient)
        changed = {k for k, v in before.items() if not torch.equal(problem.state[k], v)}
        expected = {"lslr/conv1.weight", "lslr/conv2.weight", "lslr/conv3.weight", "lslr/fc.weight", "lslr/fc.bias"}
        assert changed == (expected if problem is learnt else set())
        assert all((problem.state[k] != v).all() for k, v in before.items() if k in changed)  # every step's


def test_only_what_the_architecture_uses_is_trained(make_problem):
    """The fourth layer, the other channels and the kernel's rim belong to other architectures."""
    problem = make_problem()
    before = {k: v.clone() for k, v in problem.state.items()}
    gradient, _ = problem.gradient()
    update(problem, gradient)
    assert torch.equal(problem.state["params/conv4.weight"], before["params/conv4.weight"])
    changed = problem.state["params/conv1.weight"] != before["params/conv1.weight"]  # 3×3 in 5×5; 2 of 7 channels
    assert changed.nonzero().amin(0).tolist() == [0, 0, 1, 1]
    assert changed.nonzero().amax(0).tolist() == [1, 0, 3, 3]


def test_the_outer_step_is_torchs_adam():
    """Mean over tasks, clamp, moments kept between steps; a name without a gradient counts as zero and moves on."""
    generator = np.random.default_rng(0)
    values = {k: torch.tensor(generator.normal(size=(3, 2))) for k in "ab"}
    state = {k: v.clone() for k, v in values.items()}
    state |= adam_state(state, ["a", "b"])
    parameters = {k: torch.nn.Parameter(v.clone()) for k, v in values.items()}
    adam = torch.optim.Adam(parameters.values(), lr=0.1)
    for step in range(6):
        gradient = {k: torch.tensor(generator.normal(size=(3, 2))) * 10 for k in ("ab" if step % 2 == 0 else "a")}
        adam_step(state, gradient, ["a", "b"], lr=0.1 / (step + 1), n_tasks=4, clamp=2.0)
        for group in adam.param_groups:
            group["lr"] = 0.1 / (step + 1)
        for k, p in parameters.items():
            p.grad = (gradient[k] / 4).clamp(-2, 2) if k in gradient else torch.zeros_like(p)
        adam.step()
        for k, p in parameters.items():
            torch.testing.assert_close(state[k], p.data)


@pytest.mark.parametrize("clamp", [0.0, 1e-4])
def test_clamping_and_annealing_reach_the_outer_step(make_problem, clamp):
    """By the moments after one step: Adam's first step itself hides the size of a gradient."""
    problem = make_problem(gradient_clamp=clamp)
    before = problem.state["params/fc.weight"].clone()
    gradient, _ = problem.gradient()
    expected = gradient["params/fc.weight"] / 2
    expected = expected.clamp(-clamp, clamp) if clamp else expected
    update(problem, gradient)
    torch.testing.assert_close(problem.state["outer/mean/params/fc.weight"], 0.1 * expected)
    # Iteration 10 of 100: the learning rate is past the start of its cosine.
    rate = 1e-5 + 0.99e-3 * (1 + np.cos(np.pi * 0.1)) / 2
    moved = (problem.state["params/fc.weight"] - before).abs()
    used = expected.abs() > 1e-6
    torch.testing.assert_close(moved[used], torch.full_like(moved[used], rate), rtol=1e-2, atol=0)


def test_a_diverged_gradient_is_not_clamped_into_a_number(make_problem):
    """NaN must reach the weights, where the training loop sees it."""
    problem = make_problem(gradient_clamp=1.0)
    gradient, _ = problem.gradient()
    gradient["params/fc.bias"][0] = float("nan")
    update(problem, gradient)
    assert problem.state["params/fc.bias"][0].isnan()
