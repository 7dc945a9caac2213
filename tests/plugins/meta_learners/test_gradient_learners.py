"""Meta-SGD, ALFA, L2F and ANIL: each against itself in plain torch, in numbers, and where it is MAML."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from hnas import ConfigError
from hnas.testing import TinySpace
from hnas_plugins.meta_learners.anil import anil
from hnas_plugins.meta_learners.inner_loop import unroll
from hnas_plugins.meta_learners.meta_sgd import ElementRates
from hnas_plugins.meta_learners.options import ANILOptions, MetaSGDOptions

VARIANTS = {
    "meta-sgd": {"learner": "meta-sgd"},
    "alfa": {"learner": "alfa", "weight_decay": 0.5, "hidden": 5},
    "l2f": {"learner": "l2f", "learned_rates": True, "hidden": 5},
    "alfa and l2f": {"learner": "alfa", "l2f": True, "weight_decay": 0.5, "hidden": 5},
    "anil": {"learner": "anil", "learned_rates": True},
}
PARTS = {"multi_step_loss": True, "per_step_norm": True, "per_step_statistics": True}
HEAD = ("fc.weight", "fc.bias")


@pytest.fixture(params=VARIANTS)
def variant(request):
    return VARIANTS[request.param]


def generated(state, kind, names, values):
    """Return what the small network ``kind`` makes of the means of tensors, as torch's own layers do."""
    means = torch.stack([v[k].mean() for k in names for v in values])
    first = torch.cat([state[f"{kind}/{k}.in"] for k in names], 1)
    last = torch.cat([state[f"{kind}/{k}.out"] for k in names], 0)
    hidden = F.linear(means, first, state[f"{kind}/bias"]).relu()
    out = F.linear(hidden, last, torch.cat([state[f"{kind}/{k}.bias"] for k in names]))
    return dict(zip(names, out.view(len(names), -1), strict=True))


def plain_loop(problem, state):
    """Return each task's last query loss, and the weighted sum of all, of the learner written out for one task."""
    options, e, losses, total = problem.options, problem.episodes, [], 0.0
    second = options.second_order
    early = max((1 - problem.epoch / 4) / 3, 0.01) if options.multi_step_loss else 0.0
    for x, y, query_x, query_y in zip(e.support_x, e.support_y, e.query_x, e.query_y, strict=True):
        weights = problem.weights(state)
        names = [k for k in weights if isinstance(options, ANILOptions) <= (k in HEAD)]

        def gradients(weights, norms, names=names, x=x, y=y):
            loss = F.cross_entropy(problem.forward(weights | norms, x), y)
            found = torch.autograd.grad(loss, [weights[k] for k in names], create_graph=second, retain_graph=True)
            return dict(zip(names, found, strict=True))

        if getattr(options, "l2f", False):
            gamma = generated(state, "l2f", names, [gradients(weights, problem.norms(state, 0))])
            weights = {k: w * gamma[k][0].sigmoid() for k, w in weights.items()}
        for step, share in enumerate((early, early, 1 - 2 * early)):
            norms = problem.norms(state, step)
            found = gradients(weights, norms)
            if isinstance(options, MetaSGDOptions):
                rates = problem.supernet.share(
                    {k: state.get(f"rates/{k}", state[f"params/{k}"]) for k in problem.supernet.roles}, problem.arch
                )
            else:
                rates = {k: state[f"lslr/{k}"][step] for k in names}
            keep = dict.fromkeys(names, 1.0)
            if getattr(options, "generated_rates", False):
                factors = generated(state, "alfa", names, [weights, found])
                rates = {k: rates[k] * factors[k][0] for k in names}
                keep = {k: 1 - state[f"decay/{k}"][step] * factors[k][1] for k in names}
            weights = weights | {k: keep[k] * weights[k] - rates[k] * found[k] for k in names}
            loss = F.cross_entropy(problem.forward(weights | norms, query_x), query_y)
            total = total + share * loss
        losses.append(loss.detach())
    return torch.stack(losses), total


@pytest.mark.parametrize(
    ("kind", "more"),
    [("smooth", {}), ("linear", PARTS), ("smooth", {"second_order": False})],
    ids=["alone", "parts", "first order"],
)
def test_gradients_are_those_of_a_plain_loop(make_problem, variant, kind, more, way, path):
    """In float64, to 1e-6; and the scores, which are computed without a graph."""
    if path == "plain" and not way["batch_below_gflop"]:
        pytest.skip("no other code than that of batches")
    problem = make_problem(kind, **variant, **more, **way)
    start = {k: v.clone().requires_grad_() for k, v in problem.state.items() if not k.startswith(("outer/", "stats/"))}
    losses, total = plain_loop(problem, start)
    found = torch.autograd.grad(total, list(start.values()), allow_unused=True)
    gradient, scores = problem.gradient()
    scored = problem.learner.score(problem.supernet, problem.state, problem.episodes, problem.arch)
    for said in (scores.loss, scored.loss):
        torch.testing.assert_close(said, losses, rtol=1e-6, atol=1e-6)
    for name, value in zip(start, found, strict=True):
        got, value = (torch.zeros_like(start[name]) if g is None else g for g in (gradient.get(name), value))
        assert got.shape == value.shape
        torch.testing.assert_close(got, value, rtol=1e-6, atol=1e-6, msg=lambda told, name=name: f"{name}: {told}")


def test_gradients_are_the_numerical_ones_of_the_scores(make_problem, variant):
    """Finite differences along a random direction of all weights, all rates, …: of all that a prefix names."""
    problem = make_problem(**variant)
    gradient, _ = problem.gradient()
    for prefix in {name.partition("/")[0] for name in gradient}:
        learnt = {k: v for k, v in gradient.items() if k.startswith(f"{prefix}/")}
        generator = torch.Generator().manual_seed(1)
        along = {k: torch.randn(v.shape, generator=generator, dtype=v.dtype) for k, v in learnt.items()}
        losses = []
        for h in (1e-6, -1e-6):
            state = problem.state | {k: problem.state[k] + h * v for k, v in along.items()}
            scores = problem.learner.score(problem.supernet, state, problem.episodes, problem.arch)
            losses.append(scores.loss.sum().item())
        found = sum((learnt[k] * v).sum().item() for k, v in along.items())
        assert found == pytest.approx((losses[0] - losses[1]) / 2e-6, rel=1e-5, abs=1e-7), prefix
        assert abs(found) > 1e-4, prefix


def same_as_maml(problem, maml, names):
    """Expect the gradients and scores of MAML, as far as both learn the same tensors."""
    (gradient, scores), (expected, truth) = problem.gradient(), maml.gradient()
    torch.testing.assert_close(scores.loss, truth.loss)
    for name in names:
        torch.testing.assert_close(gradient[name], expected[name], msg=lambda told, name=name: f"{name}: {told}")
    adapted, theirs = (p.learner.adapt(p.supernet, p.state, p.episodes, p.arch) for p in (problem, maml))
    assert adapted.keys() == theirs.keys()
    for name, value in theirs.items():
        torch.testing.assert_close(adapted[name], value)


def beside_maml(make_problem, **options):
    """Return a problem of a learner, MAML's with the same weights, and the names of these weights."""
    problem, maml = make_problem(**options), make_problem(learner="maml")
    maml.state |= {k: v for k, v in problem.state.items() if k.startswith("params/")}
    maml.episodes = problem.episodes
    return problem, maml, [k for k in maml.gradient()[0] if k.startswith("params/")]


def test_meta_sgd_is_maml_if_all_rates_are_equal(make_problem):
    problem, maml, names = beside_maml(make_problem, learner="meta-sgd")
    problem.state |= {k: torch.full_like(v, 0.2) for k, v in problem.state.items() if k.startswith("rates/")}
    maml.state |= {k: torch.full_like(v, 0.2) for k, v in maml.state.items() if k.startswith("lslr/")}
    same_as_maml(problem, maml, names)


def test_a_step_of_meta_sgd_by_hand():
    """Logits (w₁x, w₂x) of one image x = 2 of the first class: ∇L = x (p₁ - 1, p₂); a negative rate ascends."""
    rule = ElementRates(MetaSGDOptions())
    w, rates = torch.tensor([0.5, -0.5], requires_grad=True), torch.tensor([0.3, -0.1], requires_grad=True)
    update = rule.update({"rates/w": rates}, {"w": w}, {"w": 1.0})
    x, y = torch.tensor([[2.0]]), torch.tensor([0])

    def network(params, x, stats):
        return x * params["w"]

    (after,) = unroll(network, {"w": w}, [{}], update, x, y, second_order=True, stats=None)
    p1 = 1 / (1 + torch.tensor(-2.0).exp())
    by_hand = torch.tensor([0.5 - 0.3 * 2 * (p1 - 1), -0.5 + 0.1 * 2 * (1 - p1)])
    torch.testing.assert_close(after["w"].detach(), by_hand)
    found = torch.autograd.grad(after["w"].sum(), rates)[0]
    torch.testing.assert_close(found, torch.stack([-2 * (p1 - 1), -2 * (1 - p1)]))


def test_rates_of_meta_sgd_start_within_their_range(make_problem):
    """Uniformly: below and above the mean, never outside; in the shapes of the weights."""
    state = make_problem(learner="meta-sgd").space.supernet((1, 7, 6), 3)
    options = MetaSGDOptions(inner_lr=0.1, rate_spread=0.5)
    params = state.init(torch.Generator().manual_seed(0))
    rates = ElementRates(options).init(state, params, torch.Generator().manual_seed(0))
    assert {k.removeprefix("rates/"): v.shape for k, v in rates.items()} == {
        k: v.shape for k, v in params.items() if not k.startswith("norm")
    }
    flat = torch.cat([v.flatten() for v in rates.values()])
    assert flat.min() >= 0.05
    assert flat.max() <= 0.15
    assert abs(flat.mean() - 0.1) < 0.005
    assert flat.std() > 0.025


@pytest.mark.parametrize("l2f", [False, True])
def test_alfa_is_maml_if_its_networks_generate_one(make_problem, l2f):
    problem, maml, names = beside_maml(make_problem, learner="alfa", l2f=l2f, hidden=5)
    for name, value in problem.state.items():
        if name.startswith("decay/") or name.endswith(".out"):
            value.zero_()
        elif name.endswith(".bias") and name.startswith(("alfa/", "l2f/")):
            value.fill_(1.0 if name.startswith("alfa/") else 40.0)  # the sigmoid of which is 1
    maml.state |= {k: v for k, v in problem.state.items() if k.startswith("lslr/")}
    same_as_maml(problem, maml, names)


@pytest.mark.parametrize("more", [{}, PARTS], ids=["alone", "parts"])
def test_anil_is_maml_whose_other_rates_are_zero(make_problem, more, way):
    """Statistics too: the same images give the same ones in every step, unless normalisations differ."""
    problem, maml = (make_problem(learner=name, **more, **way) for name in ("anil", "maml"))
    maml.state |= problem.state
    maml.episodes = problem.episodes
    for name, value in maml.state.items():
        if name.startswith("lslr/") and name.removeprefix("lslr/") not in HEAD:
            value.zero_()
    same_as_maml(problem, maml, maml.gradient()[0])


@pytest.mark.parametrize(("per_step_norm", "passes"), [(False, 2), (True, 6)])
def test_anil_computes_features_once(make_problem, monkeypatch, per_step_norm, passes):
    """Of support and query images; in each step only if normalisations differ between steps."""
    problem = make_problem(learner="anil", per_step_norm=per_step_norm, multi_step_loss=True, batch_below_gflop=1e9)
    features, calls = problem.supernet.features, []
    monkeypatch.setattr(problem.supernet, "features", lambda *a, **k: calls.append(1) or features(*a, **k))
    problem.gradient()
    assert len(calls) == passes


def test_anil_refuses_a_space_that_does_not_name_its_classifier(monkeypatch):
    supernet = TinySpace(depth=2, widths=(4,), norm=True).supernet((1, 8, 8), 3)
    monkeypatch.delattr(type(supernet), "head")
    with pytest.raises(ConfigError, match="does not name its classifier"):
        anil(ANILOptions()).init(supernet, torch.Generator())
