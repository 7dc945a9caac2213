"""BASE: passes through sampled relaxations of architectures (Shaw et al., NeurIPS 2019)."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from attrs import frozen
from torch import Tensor

from hnas import Architecture, SuperNet
from hnas.supernet import Params
from hnas_plugins.meta_learners.maml import MAML
from hnas_plugins.mixture_learners.options import BASEOptions
from hnas_plugins.mixture_learners.t_nas import MixtureRates


def base(options: BASEOptions) -> MAML:
    """Return the learner."""
    return MAML(options, SampledMixture(options))


@frozen
class SampledMixture(MixtureRates):
    """T-NAS whose passes mix by softmax((θ + g) / temperature): g is Gumbel noise, drawn anew for each pass, or 0.

    The operation with the largest share is then a sample of softmax(θ) (Maddison et al. and Jang et al., both ICLR
    2017). Noise is of training: adaption has none, so that scores repeat. BASE's posterior of the weights, by
    optimisation embedding, is left out: weights adapt by MAML's steps.
    """

    options: BASEOptions

    @property
    def samples(self) -> bool:
        return self.options.relaxation == "gumbel"

    def network(
        self, supernet: SuperNet, arch: Architecture, batched: bool, noise: Sequence[torch.Generator] = ()
    ) -> Callable[..., Tensor]:
        run = super().network(supernet, arch, batched)
        names = [k for k, role in supernet.roles.items() if role == "arch"] if arch == supernet.relaxed else []

        def sampled(params: Params, x: Tensor, **given: object) -> Tensor:
            mixed = {k: self._relaxed(params[k], noise, batched) for k in names}
            return run(params | mixed, x, **given)

        return sampled

    def _relaxed(self, theta: Tensor, generators: Sequence[torch.Generator], batched: bool) -> Tensor:
        if not (generators and self.samples):
            return theta / self.options.temperature
        shape = theta.shape[1:] if batched else theta.shape
        drawn = torch.stack([gumbel(shape, generator) for generator in generators]).to(theta)
        return (theta + (drawn if batched else drawn[0])) / self.options.temperature


def gumbel(shape: Sequence[int], generator: torch.Generator) -> Tensor:
    """Draw standard Gumbel noise: the largest of θ + noise is that of index i with probability softmax(θ)[i]."""
    return -torch.empty(tuple(shape)).exponential_(generator=generator).log()
