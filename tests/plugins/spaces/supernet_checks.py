"""What tests of super-nets share: random weights, and what must hold for any of them."""

from __future__ import annotations

import torch
from torch import nn

from hnas import NormStats

MODULES = {
    "relu": nn.ReLU,
    "elu": nn.ELU,
    "selu": nn.SELU,
    "sigmoid": nn.Sigmoid,
    "relu6": nn.ReLU6,
    "leakyrelu": lambda: nn.LeakyReLU(0.01),
}


def random_params(supernet, seed, lead=()):
    """Draw every parameter in float64, normalisations too, so that an exchanged one shows."""
    generator = torch.Generator().manual_seed(seed)
    params = {}
    for name, value in supernet.init(generator).items():
        noise = torch.randn(*lead, *value.shape, generator=generator, dtype=torch.float64)
        params[name] = 1 + 0.3 * noise if name.startswith("norm") and name.endswith("weight") else 0.5 * noise
    return params


def count_macs(network, x):
    """Count multiplications for one image from the shapes that really pass through the modules; and give the output."""
    counted = []

    def count(module, inputs, output):
        counted.append(output[0].numel() * module.weight[0].numel())

    handles = [m.register_forward_hook(count) for m in network.modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    output = network(x)
    for handle in handles:
        handle.remove()
    return sum(counted), output


def stacked_case(space, arch, seed, tasks=3, shape=(2, 9, 10), n_way=4, images=6):
    """Return a super-net, an architecture's weights for some tasks each, and their images and labels."""
    supernet = space.supernet(shape, n_way)
    params = supernet.share(random_params(supernet, seed, (tasks,)), arch)
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(tasks, images, *shape, generator=generator, dtype=torch.float64)
    y = torch.randint(n_way, (tasks, images), generator=generator)
    return supernet, params, x, y


def inner_step(loss, params):
    """One differentiable gradient step of MAML."""
    gradients = torch.autograd.grad(loss, list(params.values()), create_graph=True)
    return {name: p - 0.1 * g for (name, p), g in zip(params.items(), gradients, strict=True)}


def check_batched_tasks(space, arch, tasks):
    """A batch agrees with each task alone: logits, and the second-order gradient through an inner step."""
    supernet, stacked, x, y = stacked_case(space, arch, seed=1, tasks=tasks)
    leaves = {name: value.detach().clone().requires_grad_() for name, value in stacked.items()}
    logits = supernet.forward_tasks(leaves, x, arch)
    adapted = inner_step(sum(nn.functional.cross_entropy(logits[t], y[t]) for t in range(tasks)), leaves)
    outer = supernet.forward_tasks(adapted, x.flip(1), arch)
    loss = sum(nn.functional.cross_entropy(outer[t], y[t]) for t in range(tasks))
    batched = torch.autograd.grad(loss, list(leaves.values()))
    for t in range(tasks):
        alone = {name: value[t].detach().clone().requires_grad_() for name, value in stacked.items()}
        one = supernet.forward(alone, x[t], arch)
        torch.testing.assert_close(logits[t], one, rtol=1e-9, atol=1e-9)
        moved = inner_step(nn.functional.cross_entropy(one, y[t]), alone)
        loss = nn.functional.cross_entropy(supernet.forward(moved, x[t].flip(0), arch), y[t])
        for name, expected, got in zip(alone, torch.autograd.grad(loss, list(alone.values())), batched, strict=True):
            torch.testing.assert_close(got[t], expected, rtol=1e-7, atol=1e-9, msg=lambda m, n=name: f"{n}: {m}")
            assert expected.abs().max() > 0, name


def check_statistics(space, arch, names, widths):
    """Statistics collected and then applied give the same logits; their names and shapes are as `NormStats` says."""
    supernet, stacked, x, _ = stacked_case(space, arch, seed=4)
    together = NormStats("collect")
    logits = supernet.forward_tasks(stacked, x, arch, stats=together)
    assert set(together.mean) == set(together.var) == set(names)
    assert {n: tuple(together.var[n].shape) for n in names} == {n: (3, w) for n, w in zip(names, widths, strict=True)}
    applied = supernet.forward_tasks(stacked, x, arch, stats=NormStats("apply", together.mean, together.var))
    torch.testing.assert_close(applied, logits)

    one = {name: value[1] for name, value in stacked.items()}
    alone = NormStats("collect")
    torch.testing.assert_close(supernet.forward(one, x[1], arch, stats=alone), logits[1])
    for name in names:
        torch.testing.assert_close(alone.var[name], together.var[name][1])
    half = supernet.forward(one, x[1, :3], arch, stats=NormStats("apply", alone.mean, alone.var))
    torch.testing.assert_close(half, logits[1, :3])  # given statistics: an image's logits do not depend on the others
