"""Meta-gradients by the libraries `higher`, `learn2learn` and `easyfsl`, on the plain network, if they are installed.

The first two adapt a module: `PlainModule` holds the leaves of a `Start`. They get MAML++'s learned rates through the
means that each library offers, so that they compute the same numbers as the plain loop. Easyfsl's prototypical networks
take Euclidean distances, not their squares: the same work, other numbers.
"""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec

import torch
import torch.nn.functional as F
from configs import INNER_STEPS
from plain_loop import Start, features, network, tasks
from torch import Tensor, nn

from hnas import Episodes


def missing(name: str) -> str | None:
    """Say why a peer cannot take part, or return ``None``."""
    if find_spec(name.partition(".")[0]) is None:
        return f"{name} is not installed"
    try:
        import_module(name)
    except Exception as cause:  # a peer's own dependencies: whatever it fails with, it takes no part
        return f"{name} cannot be imported: {type(cause).__name__}: {cause}"
    return None


class PlainModule(nn.Module):
    """The plain network as a module whose parameters are the adapted weights; the rest is read from ``start``."""

    def __init__(self, start: Start) -> None:
        super().__init__()
        self._start = [start]  # in a list: the libraries copy modules, and these leaves must stay the same ones
        self.weights = nn.ParameterList([nn.Parameter(w.detach().clone()) for w in start.weights])

    def forward(self, x: Tensor, step: int) -> Tensor:
        return network(self._start[0], list(self.weights), step, x)

    def add_gradients(self) -> None:
        """Hand the gradients on to the leaves of ``start``, where every variant leaves them."""
        for leaf, weight in zip(self._start[0].weights, self.weights, strict=True):
            leaf.grad = weight.grad


def higher_loop(start: Start, episodes: Episodes, *, second_order: bool = True, multi_step_loss: bool = False) -> float:
    """Do what `plain_loop.loop` does with ``higher.innerloop_ctx`` and its differentiable SGD, second order only."""
    if not second_order:
        raise ValueError("higher has no first-order gradient that keeps learned rates")
    higher = import_module("higher")
    module = PlainModule(start)
    optimizer = torch.optim.SGD([{"params": [w]} for w in module.weights], lr=0.1)
    total = 0.0
    for x, y, query_x, query_y in tasks(episodes):
        with higher.innerloop_ctx(module, optimizer, copy_initial_weights=False) as (net, sgd):
            losses = []
            for step in range(INNER_STEPS):
                loss = F.cross_entropy(net(x, step), y)
                sgd.step(loss, override={"lr": [r[step] for r in start.rates]})
                if multi_step_loss or step == INNER_STEPS - 1:
                    losses.append(F.cross_entropy(net(query_x, step), query_y))
            query_loss = torch.stack(losses).mean()
            query_loss.backward()  # type: ignore[no-untyped-call]
            total += query_loss.item()
    module.add_gradients()
    return total / len(episodes)


def learn2learn_loop(
    start: Start, episodes: Episodes, *, second_order: bool = True, multi_step_loss: bool = False
) -> float:
    """Do what `plain_loop.loop` does with learn2learn's MAML: its ``clone`` and its update of a cloned module."""
    algorithms = import_module("learn2learn.algorithms")
    update = import_module("learn2learn.algorithms.maml").maml_update
    module = PlainModule(start)
    maml = algorithms.MAML(module, lr=1.0, first_order=not second_order)
    total = 0.0
    for x, y, query_x, query_y in tasks(episodes):
        learner, losses = maml.clone(), []
        for step in range(INNER_STEPS):
            loss = F.cross_entropy(learner(x, step), y)
            gradients = torch.autograd.grad(loss, list(learner.parameters()), create_graph=second_order)
            scaled = [r[step] * g for r, g in zip(start.rates, gradients, strict=True)]
            learner.module = update(learner.module, lr=1.0, grads=scaled)
            if multi_step_loss or step == INNER_STEPS - 1:
                losses.append(F.cross_entropy(learner(query_x, step), query_y))
        query_loss = torch.stack(losses).mean()
        query_loss.backward()  # type: ignore[no-untyped-call]
        total += query_loss.item()
    module.add_gradients()
    return total / len(episodes)


class PlainFeatures(nn.Module):
    """The plain network up to its classifier, as a backbone."""

    def __init__(self, start: Start) -> None:
        super().__init__()
        self._start = start

    def forward(self, x: Tensor) -> Tensor:
        return features(self._start, self._start.weights, 0, x)


def easyfsl_prototypical(start: Start, episodes: Episodes) -> None:
    """Leave the gradient of easyfsl's prototypical networks in the leaves of ``start``."""
    classifier = import_module("easyfsl.methods").PrototypicalNetworks(PlainFeatures(start))
    for x, y, query_x, query_y in tasks(episodes):
        classifier.process_support_set(x, y)
        F.cross_entropy(classifier(query_x), query_y).backward()  # type: ignore[no-untyped-call]
