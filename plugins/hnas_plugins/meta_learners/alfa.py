"""ALFA and L2F: small networks that generate the rates of each step, and attenuate what it starts from.

ALFA is of Baik et al., "Meta-Learning with Adaptive Hyperparameters" (NeurIPS 2020). L2F is of Baik et al., "Learning
to Forget for Meta-Learning" (CVPR 2020).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping

import torch
from attrs import field, frozen
from torch import Tensor

from hnas import SuperNet
from hnas.learner import State
from hnas.supernet import Params
from hnas_plugins.engine.blocks import each_task
from hnas_plugins.meta_learners.inner_loop import Update
from hnas_plugins.meta_learners.maml import MAML
from hnas_plugins.meta_learners.options import ALFAOptions
from hnas_plugins.meta_learners.rules import LayerRates, Rule, adaptable, by_rates, by_steps, for_steps


def alfa(options: ALFAOptions) -> MAML:
    """Return the learner."""
    return MAML(options, Generated(options))


@frozen
class Generated(Rule):
    """The steps θ' = β θ - α ∇L of ALFA, after the attenuation θ = γ θ of L2F; each is an option.

    α is ``lslr/<name>`` times, and β is 1 - ``decay/<name>`` times, what a network generates in each step for each
    tensor from the means of all tensors and their gradients. γ is the logistic function of what another one generates
    once, from the means of the gradients. So far this is the authors' code. There the means of gradients are constants
    to ALFA; here they are differentiated in second order, as the equations say.

    Architectures have different tensors; those that one lacks count as 0 to the two networks. So their weights are
    kept by tensor, ``alfa/<name>.in|out|bias`` and ``l2f/…``, and their width is an option (in the authors' code, the
    number of inputs). What ALFA's network generates begins near 1 rather than 0: training begins near MAML.
    """

    options: ALFAOptions
    descends = False
    _rates: LayerRates = field(init=False)

    @_rates.default
    def _layer_rates(self) -> LayerRates:
        return LayerRates(self.options)

    def init(self, supernet: SuperNet, params: Params, generator: torch.Generator) -> State:
        o, names = self.options, adaptable(supernet)
        state = self._rates.init(supernet, params, generator)
        if o.generated_rates:
            state |= {f"decay/{k}": torch.full((o.inner_steps,), o.weight_decay * o.inner_lr) for k in names}
            state |= _fresh("alfa", names, 2, o.hidden, generator, bias=1.0)
        if o.l2f:
            state |= _fresh("l2f", names, 1, o.hidden, generator, bias=0.0)
        return state

    def tensors(self, state: State, names: Iterable[str]) -> Params:
        kinds = [*(("decay", "alfa") if self.options.generated_rates else ()), *(("l2f",) if self.options.l2f else ())]
        wanted = [f"{kind}/{k}{part}" for kind in kinds for k in names for part in ("", ".in", ".out", ".bias")]
        wanted += [f"{kind}/bias" for kind in kinds]
        own = {k: state[k] for k in wanted if k in state}
        steps = self.options.inner_steps
        decays = {k: by_steps(v, steps) for k, v in own.items() if k.startswith("decay/")}
        return self._rates.tensors(state, names) | own | decays

    def learns(self, name: str) -> bool:
        return self.options.learned_rates or not name.startswith(("lslr/", "decay/"))

    def update(self, tensors: Params, weights: Params, scales: Mapping[str, float]) -> Update:
        dims = {k: v.dim() for k, v in weights.items()}
        rates, decays = (
            {k: for_steps(v, dims[k]) for k, v in part.items()}
            for part in (
                self._rates.rates(tensors, scales),
                {k: tensors[f"decay/{k}"] for k in weights if self.options.generated_rates},
            )
        )
        step = by_rates(rates).step
        if self.options.generated_rates:
            generate = _generator("alfa", tensors, dims)

            def step(i: int, weights: Params, found: Params) -> Params:
                alpha, beta = generate(weights, found)
                return {
                    k: torch.addcmul(w * (1 - beta[k] * decays[k][i]), found[k], alpha[k] * rates[k][i], value=-1)
                    for k, w in weights.items()
                }

        if not self.options.l2f:
            return Update(step=step)
        attenuation = _generator("l2f", tensors, dims)

        def start(weights: Params, gradients: Callable[[], Params]) -> Params:
            (raw,) = attenuation(gradients())
            return {k: w * _logistic(raw[k]) for k, w in weights.items()}

        return Update(step=step, start=start)


def _fresh(kind: str, names: list[str], n: int, hidden: int, generator: torch.Generator, *, bias: float) -> State:
    """Draw a network of ``n`` inputs and outputs for each name, as torch draws linear layers; but the last bias."""

    def drawn(*shape: int, inputs: int) -> Tensor:
        return torch.empty(shape).uniform_(-(bound := 1 / math.sqrt(inputs)), bound, generator=generator)

    state = {f"{kind}/bias": drawn(hidden, inputs=n * len(names))}
    for name in names:
        state[f"{kind}/{name}.in"] = drawn(hidden, n, inputs=n * len(names))
        state[f"{kind}/{name}.out"] = drawn(n, hidden, inputs=hidden)
        state[f"{kind}/{name}.bias"] = torch.full((n,), bias)
    return state


def _generator(kind: str, tensors: Params, dims: Mapping[str, int]) -> Callable[..., tuple[Params, ...]]:
    """Return a network as a function of tensors by name; it returns as many numbers by name, each ([T, 1, …])."""

    def joined(part: str, at: int) -> Tensor:
        return torch.cat([tensors[f"{kind}/{k}.{part}"] for k in dims], at)

    into, out, bias = joined("in", -1), joined("out", -2), joined("bias", -1)
    first = tensors[f"{kind}/bias"]

    def generate(*values: Params) -> tuple[Params, ...]:
        means = torch.stack([_mean(v[k], dims[k]) for k in dims for v in values], -1)
        # Products and sums, not matrix products: those round a task differently in batches of another size.
        hidden = torch.relu((into * means.unsqueeze(-2)).sum(-1) + first)
        numbers = ((out * hidden.unsqueeze(-2)).sum(-1) + bias).unbind(-1)
        by_kind = (numbers[i :: len(values)] for i in range(len(values)))
        return tuple(
            {k: v.view(-1, *[1] * dims[k]) if v.dim() else v for k, v in zip(dims, part, strict=True)}
            for part in by_kind
        )

    return generate


def _mean(value: Tensor, dims: int) -> Tensor:
    return value.flatten(1).mean(1) if value.dim() > dims else value.mean()


def _logistic(values: Tensor) -> Tensor:
    return each_task(torch.special.expit, values) if values.dim() else torch.special.expit(values)
