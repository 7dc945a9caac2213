"""T-NAS: architecture weights adapt to a task as weights do (Lian et al., ICLR 2020)."""

from __future__ import annotations

from collections.abc import Mapping

import attrs
import torch
from attrs import field, frozen
from torch import Tensor

from hnas import SuperNet
from hnas.learner import State
from hnas.supernet import Params
from hnas_plugins.meta_learners.inner_loop import Update
from hnas_plugins.meta_learners.maml import MAML
from hnas_plugins.meta_learners.rules import LayerRates, relaxed
from hnas_plugins.mixture_learners.options import DARTSOptions, TNASOptions, TNASPlusPlusOptions


def t_nas(options: TNASOptions | TNASPlusPlusOptions) -> MAML:
    """Return the learner; with the options of T-NAS++, that."""
    return MAML(options, MixtureRates(options))


@frozen
class MixtureRates(LayerRates):
    """MAML's steps on the relaxed network: on its weights w, and at a rate of their own on architecture weights θ.

    Both are meta-learned: the query loss is that of the mixture, whatever architecture an iteration draws. A task's
    architecture is decoded from its adapted θ. The weights of the mixture are of little use to it, as in the authors'
    code: a network is trained alone before it is tested.
    """

    options: TNASOptions | TNASPlusPlusOptions | DARTSOptions
    prices: Mapping[str, Tensor] = field(factory=dict, kw_only=True, eq=False)
    """By architecture weights; the expected cost, their softmax times these, is added to a task's support loss."""
    proposes = True
    descends = False

    def init(self, supernet: SuperNet, params: Params, generator: torch.Generator) -> State:
        relaxed(supernet)  # or raise now
        fixed = torch.full((self.options.inner_steps,), self.options.arch_lr)
        own = {f"lslr/{k}": fixed.clone() for k, role in supernet.roles.items() if role == "arch"}
        return super().init(supernet, params, generator) | own

    def with_prices(self, prices: Params) -> MixtureRates:
        return attrs.evolve(self, prices=prices)

    def update(self, tensors: Params, weights: Params, scales: Mapping[str, float]) -> Update:
        update = super().update(tensors, weights, scales)
        priced = [k for k in self.prices if k in weights]

        def step(i: int, weights: Params, found: Params) -> Params:
            costs = {k: found[k] + cost_gradient(weights[k], self.prices[k]) for k in priced}
            return update.step(i, weights, found | costs)

        return attrs.evolve(update, step=step) if priced else update


def cost_gradient(theta: Tensor, prices: Tensor) -> Tensor:
    """Return the gradient of the expected cost, the sum of softmax(θ) × prices, by θ (…, options)."""
    shares, prices = theta.softmax(-1), prices.to(theta)
    return shares * (prices - (shares * prices).sum(-1, keepdim=True))
