"""Meta-SGD: a learnt rate for every weight (Li, Zhou, Chen and Li, 2017, arXiv:1707.09835)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import torch
from attrs import frozen

from hnas import SuperNet
from hnas.learner import State
from hnas.supernet import Params
from hnas_plugins.engine.sums import task_sum
from hnas_plugins.meta_learners.inner_loop import Update
from hnas_plugins.meta_learners.maml import MAML
from hnas_plugins.meta_learners.options import MetaSGDOptions
from hnas_plugins.meta_learners.rules import Rule, adaptable, by_rates


def meta_sgd(options: MetaSGDOptions) -> MAML:
    """Return the learner."""
    return MAML(options, ElementRates(options))


@frozen
class ElementRates(Rule):
    """The steps θ' = θ - α ∘ ∇L of Eq. 2 there; α, ``rates/<name>``, has the shape of θ and may become negative.

    α is drawn uniformly, as there. The paper takes one step; further ones have the same α. A super-net slices α as it
    slices θ; if it computes weights from parameters of role ``meta``, α is computed from the initial ones.
    """

    options: MetaSGDOptions
    like_params = "rates/"

    def init(self, supernet: SuperNet, params: Params, generator: torch.Generator) -> State:
        mean, spread, adapted = self.options.inner_lr, self.options.rate_spread, set(adaptable(supernet))
        state = {}
        for name, value in params.items():
            if name in adapted:
                rate = torch.empty_like(value).uniform_(generator=generator)
                state[f"rates/{name}"] = mean * (1 + spread * (2 * rate - 1))
            elif supernet.roles[name] == "meta":
                state[f"rates/{name}"] = value.clone()
        return state

    def tensors(self, state: State, names: Iterable[str]) -> Params:
        return {}

    def learns(self, name: str) -> bool:
        return self.options.learned_rates

    def update(self, tensors: Params, weights: Params, scales: Mapping[str, float]) -> Update:
        return by_rates({k: [v] * self.options.inner_steps for k, v in _scaled(tensors, scales).items()})

    def rates(self, tensors: Params, scales: Mapping[str, float]) -> Params:
        return {k: v.expand(self.options.inner_steps, *v.shape) for k, v in _scaled(tensors, scales).items()}

    def rate_gradients(self, ends: Params, steps: Params, scales: Mapping[str, float]) -> Params:
        found = {}
        for name, end in ends.items():
            total = steps[name][0]
            for gradient in steps[name][1:]:  # not `sum`, whose order may differ with a number's place in the batch
                total = total + gradient
            found[f"rates/{name}"] = task_sum(total * end * -scales[name])
        return found


def _scaled(tensors: Params, scales: Mapping[str, float]) -> Params:
    return {k: tensors[f"rates/{k}"] * s if s != 1 else tensors[f"rates/{k}"] for k, s in scales.items()}
