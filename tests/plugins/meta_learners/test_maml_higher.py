"""Meta-gradients against `higher`, an implementation of the inner loop that nobody here wrote."""

import higher
import pytest
import torch
from torch import nn
from torch.nn import functional as F


class Net(nn.Module):
    """The problem's network as a module: what `higher` takes."""

    def __init__(self, problem, params):
        super().__init__()
        self._problem, self.names = problem, list(params)
        for name, value in params.items():
            self.register_parameter(name.replace(".", "_"), nn.Parameter(value.detach().clone()))

    def forward(self, x):
        return self._problem.forward({name: getattr(self, name.replace(".", "_")) for name in self.names}, x)


def by_higher(problem, shares):
    """Return the meta-gradient of the weights, of gamma and beta of each step, and of the rates."""
    weights = problem.weights(problem.state)
    first = problem.norms(problem.state, 0)
    net = Net(problem, weights | first)
    start = [getattr(net, name.replace(".", "_")) for name in net.names]
    rates = {k: problem.state[f"lslr/{k}"].clone().requires_grad_() for k in weights}
    norms = [
        {k: v.detach().clone().requires_grad_() for k, v in problem.norms(problem.state, s).items()} for s in range(3)
    ]
    total = 0.0
    e = problem.episodes
    for x, y, query_x, query_y in zip(e.support_x, e.support_y, e.query_x, e.query_y, strict=True):
        groups = [{"params": [p]} for p in start[: len(weights)]]
        with higher.innerloop_ctx(net, torch.optim.SGD(groups, lr=1.0), copy_initial_weights=False) as (fast, inner):
            for step, share in enumerate(shares):

                def at_step(images, fast=fast, step=step):
                    adapted = list(fast.parameters())[: len(weights)]
                    return fast(images, params=[*adapted, *norms[step].values()])

                inner.step(F.cross_entropy(at_step(x), y), override={"lr": [rates[k][step] for k in weights]})
                total = total + share * F.cross_entropy(at_step(query_x), query_y)
    leaves = {k: p for k, p in zip(weights, start, strict=False)}
    leaves |= {(k, s): v for s in range(3) for k, v in norms[s].items()} | {("rate", k): v for k, v in rates.items()}
    return dict(zip(leaves, torch.autograd.grad(total, list(leaves.values())), strict=True))


@pytest.mark.parametrize(
    ("options", "shares"),
    [
        pytest.param({"plain": True}, [0.0, 0.0, 1.0], id="maml"),
        pytest.param({"epoch": 2}, [1 / 6, 1 / 6, 2 / 3], id="maml++"),
        pytest.param({"epoch": 2, "per_step_norm": False}, [1 / 6, 1 / 6, 2 / 3], id="maml++ without bnwb"),
    ],
)
@pytest.mark.parametrize("kind", ["smooth", "linear"])
def test_second_order_gradients(make_problem, kind, options, shares, way, path):
    problem = make_problem(kind, **options, **way)
    expected = by_higher(problem, shares)
    gradient, _ = problem.gradient()
    full = {k: gradient.get(f"params/{k}", problem.state[f"params/{k}"]) for k in problem.supernet.roles}
    mine = problem.supernet.share(full, problem.arch)
    for key, value in expected.items():
        if isinstance(key, str):
            torch.testing.assert_close(mine[key], value, rtol=1e-6, atol=1e-9)
        elif key[0] == "rate":
            if problem.options.learned_rates:
                torch.testing.assert_close(gradient[f"lslr/{key[1]}"], value, rtol=1e-6, atol=1e-9)
        elif problem.options.per_step_norm:
            torch.testing.assert_close(mine[key[0]][key[1]], value, rtol=1e-6, atol=1e-9)
    if not problem.options.per_step_norm:
        for name in problem.norms(problem.state, 0):
            torch.testing.assert_close(mine[name], sum(expected[name, s] for s in range(3)), rtol=1e-6, atol=1e-9)
