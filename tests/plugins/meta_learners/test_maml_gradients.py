"""Meta-gradients: numerical derivatives of the meta-loss written out plainly, and the first-order one by hand."""

import attrs
import pytest
import torch
from torch.nn import functional as F

from hnas_plugins.meta_learners.options import MAMLOptions, MAMLPlusPlusOptions

PARTS = (
    "multi_step_loss",
    "derivative_order_annealing",
    "per_step_statistics",
    "per_step_norm",
    "learned_rates",
    "cosine_annealing",
)
VARIANTS = {"none": {}, "all": dict.fromkeys(PARTS, True)}
VARIANTS |= {f"only {p}": {p: True} for p in PARTS} | {f"without {p}": {q: q != p for q in PARTS} for p in PARTS}


def loss_weights(problem):
    """MSL written out: in epoch e of 4 each of the first two steps has (1 - e/4)/3, the last one the rest."""
    if not problem.options.multi_step_loss or problem.epoch >= 4:
        return [0.0, 0.0, 1.0]
    early = max((1 - problem.epoch / 4) / 3, 0.01)
    return [early, early, 1 - 2 * early]


def meta_loss(problem, state):
    """The sum over tasks of the weighted query losses after each inner step, with nothing differentiable left."""
    e, total = problem.episodes, 0.0
    for x, y, query_x, query_y in zip(e.support_x, e.support_y, e.query_x, e.query_y, strict=True):
        weights = problem.weights(state)
        for step, share in enumerate(loss_weights(problem)):
            weights = {k: v.detach().requires_grad_() for k, v in weights.items()}
            norms = problem.norms(state, step)
            loss = F.cross_entropy(problem.forward(weights | norms, x), y)
            gradients = torch.autograd.grad(loss, list(weights.values()))
            rates = [state[f"lslr/{k}"][step] for k in weights]
            weights = {k: w - r * g for (k, w), r, g in zip(weights.items(), rates, gradients, strict=True)}
            total += share * F.cross_entropy(problem.forward(weights | norms, query_x), query_y).item()
    return total


def direction(value):
    return torch.randn(value.shape, generator=torch.Generator().manual_seed(value.numel()), dtype=torch.float64)


_numerical = {}


def numerical(problem, kind):
    """Return the meta-loss's derivative along a random direction of each learnt tensor.

    Kept, by what the meta-loss depends on: it knows nothing of the other parts, nor of how it is computed.
    """
    key = (kind, problem.options.multi_step_loss, problem.options.per_step_norm)
    if key not in _numerical:
        found = {}
        for name, value in problem.state.items():
            if not name.startswith(("params/", "lslr/")):
                continue
            step = 1e-7 * direction(value)
            up, down = ({**problem.state, name: value + sign * step} for sign in (1, -1))
            found[name] = (meta_loss(problem, up) - meta_loss(problem, down)) / 2e-7
        _numerical[key] = found
    return _numerical[key]


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("kind", ["smooth", "linear"])
def test_second_order_gradients_are_the_numerical_ones(make_problem, kind, variant, way, path):
    """Every part on and off, tasks looped and batched, engine and plain torch: one meta-loss, one gradient."""
    problem = make_problem(kind, plain=True, **VARIANTS[variant], **way)
    gradient, _ = problem.gradient()
    expected = numerical(problem, kind)
    learnt = {k for k in gradient if not k.startswith(("stats/", "count/"))}
    used = {
        f"params/{k}"
        for k in problem.supernet.share({k: problem.state[f"params/{k}"] for k in problem.supernet.roles}, problem.arch)
    }
    rates = {f"lslr/{k}" for k in problem.weights(problem.state)} if problem.options.learned_rates else set()
    assert learnt == used | rates
    for name, value in expected.items():
        if name in gradient:
            assert gradient[name].shape == problem.state[name].shape
            along = (gradient[name] * direction(problem.state[name])).sum().item()
            assert along == pytest.approx(value, rel=1e-5, abs=2e-7), name
        elif not name.startswith("lslr/"):
            assert value == 0, name  # a missing name counts as zero


@pytest.mark.parametrize("variant", ["none", "all", "without per_step_norm", "only multi_step_loss"])
@pytest.mark.parametrize("kind", ["smooth", "linear"])
def test_first_order_gradients_are_those_at_the_adapted_weights(make_problem, kind, variant, way, path):
    """FOMAML by hand: derivatives of the query losses at the adapted weights; support gradients are constants.

    A rate's derivative is minus the product of its step's support gradient with what later query losses want.
    """
    problem = make_problem(kind, plain=True, epoch=0, **{**VARIANTS[variant], "second_order": False}, **way)
    state, e = problem.state, problem.episodes
    expected = {}

    def add(name, value):
        expected[name] = expected.get(name, 0) + value

    for x, y, query_x, query_y in zip(e.support_x, e.support_y, e.query_x, e.query_y, strict=True):
        weights, inner, wanted = problem.weights(state), [], []
        for step, share in enumerate(loss_weights(problem)):
            norms = {k: v.detach().requires_grad_() for k, v in problem.norms(state, step).items()}
            weights = {k: v.detach().requires_grad_() for k, v in weights.items()}
            loss = F.cross_entropy(problem.forward(weights | norms, x), y)
            inner.append(torch.autograd.grad(loss, list(weights.values())))
            weights = {
                k: w - state[f"lslr/{k}"][step] * g for (k, w), g in zip(weights.items(), inner[-1], strict=True)
            }
            weights = {k: v.detach().requires_grad_() for k, v in weights.items()}
            loss = share * F.cross_entropy(problem.forward(weights | norms, query_x), query_y)
            found = dict(zip(weights | norms, torch.autograd.grad(loss, list((weights | norms).values())), strict=True))
            wanted.append([found[k] for k in weights])
            for k in weights:
                add(k, found[k])
            for k in norms:
                add((k, step) if problem.options.per_step_norm else k, found[k])
        for i, k in enumerate(weights):
            for step in range(3):
                later = sum(w[i] for w in wanted[step:])
                add(("lslr", k, step), -(inner[step][i] * later).sum())

    gradient, _ = problem.gradient()
    mine = problem.supernet.share(
        {k: gradient.get(f"params/{k}", state[f"params/{k}"]) for k in problem.supernet.roles}, problem.arch
    )
    for name, value in expected.items():
        if name[0] == "lslr":
            if problem.options.learned_rates:
                torch.testing.assert_close(gradient[f"lslr/{name[1]}"][name[2]], value)
        elif isinstance(name, tuple):
            torch.testing.assert_close(mine[name[0]][name[1]], value)
        else:
            torch.testing.assert_close(mine[name], value)


def test_derivative_order_annealing_switches_once(make_problem):
    """First order before ``first_order_epochs``, second order from it on; without the part second order at once."""
    first = make_problem(epoch=0, second_order=False, derivative_order_annealing=False, multi_step_loss=False)
    annealed, at_once = ({"derivative_order_annealing": on, "multi_step_loss": False} for on in (True, False))
    cases = {
        (0, True): make_problem(epoch=0, **annealed),
        (1, False): make_problem(epoch=1, **annealed),
        (0, False): make_problem(epoch=0, **at_once),
    }
    name = "params/conv1.weight"
    reference = first.gradient()[0][name]
    second = cases[1, False].gradient()[0][name]
    assert not torch.allclose(reference, second, rtol=1e-3)
    for (_, is_first), problem in cases.items():
        torch.testing.assert_close(problem.gradient()[0][name], reference if is_first else second)


@pytest.mark.parametrize("epoch", [0, 1])
@pytest.mark.parametrize("kind", ["smooth", "linear"])
def test_batched_and_looped_agree_in_everything(make_problem, kind, epoch, path):
    """Gradient, collected statistics, scores: which way is taken is decided by size, so it must not show."""
    looped, batched = (
        make_problem(kind, tasks=4, epoch=epoch, batch_below_gflop=below).gradient() for below in (0.0, 1e9)
    )
    assert looped[0].keys() == batched[0].keys()
    for name, value in looped[0].items():
        torch.testing.assert_close(batched[0][name], value, equal_nan=True)
    torch.testing.assert_close(batched[1].loss, looped[1].loss)
    torch.testing.assert_close(batched[1].accuracy, looped[1].accuracy)


def test_gradients_of_slices_add_up_to_that_of_the_meta_batch(make_problem, way):
    """Workers get slices; whatever the learner averages by itself would weigh tasks by the number of workers."""
    problem = make_problem(tasks=5, **way)
    whole, scores = problem.gradient()
    parts = [problem.gradient(problem.episodes[a:b]) for a, b in ((0, 1), (1, 3), (3, 5))]
    for name, value in whole.items():
        torch.testing.assert_close(sum(gradient[name] for gradient, _ in parts), value, equal_nan=True)
    torch.testing.assert_close(torch.cat([s.loss for _, s in parts]), scores.loss)
    torch.testing.assert_close(torch.cat([s.accuracy for _, s in parts]), scores.accuracy)


def test_the_state_is_left_alone_by_all_but_update(make_problem, way):
    """Workers may share it, and a search scores thousands of times from one state."""
    problem = make_problem(**way)
    before = {k: v.clone() for k, v in problem.state.items()}
    problem.gradient()
    problem.learner.score(problem.supernet, problem.state, problem.episodes, problem.arch)
    problem.learner.adapt(problem.supernet, problem.state, problem.episodes, problem.arch)
    assert all(torch.equal(v, before[k]) and not v.requires_grad for k, v in problem.state.items())


def test_plain_maml_is_maml_plus_plus_with_the_six_parts_off():
    """And differs in nothing else."""
    plus_plus, plain = attrs.asdict(MAMLPlusPlusOptions()), attrs.asdict(MAMLOptions())
    assert {k for k in plain if plain[k] != plus_plus[k]} == set(PARTS)
    assert not any(plain[k] for k in PARTS)
    assert all(plus_plus[k] for k in PARTS)
