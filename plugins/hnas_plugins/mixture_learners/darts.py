"""DARTS for one task: steps on architecture weights and on weights in turn (Liu, Simonyan and Yang, ICLR 2019)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import attrs
import torch
from attrs import frozen
from torch import Tensor

from hnas import ConfigError, SuperNet
from hnas.learner import State
from hnas.supernet import Params
from hnas_plugins.meta_learners.inner_loop import Update
from hnas_plugins.meta_learners.maml import MAML
from hnas_plugins.mixture_learners.options import DARTSOptions
from hnas_plugins.mixture_learners.t_nas import MixtureRates


def darts(options: DARTSOptions) -> MAML:
    """Return the learner."""
    return MAML(options, InTurn(options))


@frozen
class InTurn(MixtureRates):
    """A step on θ, then one on w, and so on: rates of 0 leave the others. This is DARTS's first-order approximation.

    Of each class's support images the first half, rounded up, trains w, and the rest θ. Of a single image both take
    all. A discrete network takes every step on w, with all images. Its steps are plain gradient descent; in the paper θ
    has Adam, and w momentum.
    """

    options: DARTSOptions

    def init(self, supernet: SuperNet, params: Params, generator: torch.Generator) -> State:
        if self.options.inner_steps < 2:
            raise ConfigError("learner.inner_steps=1 leaves darts no step on weights", hint="expected 2 or more")
        state = super().init(supernet, params, generator)
        theta = {f"lslr/{k}" for k, role in supernet.roles.items() if role == "arch"}
        for name, rates in state.items() if theta else ():
            if name.startswith("lslr/"):
                rates[0 if name not in theta else 1 :: 2] = 0
        return state

    def tensors(self, state: State, names: Iterable[str]) -> Params:
        own = super().tensors(state, names)
        return own if _in_turn(own) else {k: state[k].max().expand(len(v)) for k, v in own.items()}

    def update(self, tensors: Params, weights: Params, scales: Mapping[str, float]) -> Update:
        update = super().update(tensors, weights, scales)
        return attrs.evolve(update, images=halves) if _in_turn(tensors) else update


def _in_turn(rates: Params) -> bool:
    """Return whether some weights take the first step and others do not: those of a mixture."""
    return len({bool((v[..., 0] == 0).all()) for v in rates.values()}) == 2


def halves(step: int, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Return the support images ([T,] N, C, H, W) and labels ([T,] N) of a step: even ones are of θ."""
    labels = y[0] if y.dim() == 2 else y
    shots = int((labels == labels[0]).sum())
    if shots == 1:
        return x, y
    first = torch.arange(len(labels), device=y.device) % shots < (shots + 1) // 2  # labels come in order
    chosen = ~first if step % 2 == 0 else first
    return (x[:, chosen], y[:, chosen]) if y.dim() == 2 else (x[chosen], y[chosen])
