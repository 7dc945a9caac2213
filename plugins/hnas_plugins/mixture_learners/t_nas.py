"""T-NAS: architecture weights adapt to a task as weights do (Lian et al., ICLR 2020)."""

from __future__ import annotations

import torch
from attrs import frozen

from hnas import SuperNet
from hnas.learner import State
from hnas.supernet import Params
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
    proposes = True

    def init(self, supernet: SuperNet, params: Params, generator: torch.Generator) -> State:
        relaxed(supernet)  # or raise now
        fixed = torch.full((self.options.inner_steps,), self.options.arch_lr)
        own = {f"lslr/{k}": fixed.clone() for k, role in supernet.roles.items() if role == "arch"}
        return super().init(supernet, params, generator) | own
