"""Rules of the inner loop: which weights it adapts, and how a step changes them. Those of MAML and MAML++."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import ClassVar

import torch
from attrs import frozen
from torch import Tensor

from hnas import Architecture, ConfigError, SuperNet
from hnas.learner import State
from hnas.supernet import Params
from hnas_plugins.engine.sums import task_sum
from hnas_plugins.meta_learners.inner_loop import Update
from hnas_plugins.meta_learners.options import MAMLPlusPlusOptions

ADAPTED = ("weight", "arch")
"""The roles of parameters that an inner loop may adapt."""


@frozen
class Rule(ABC):
    """What a learner by gradient does in its inner loop, and what it learns for it beside the weights.

    It holds options only. `Leaves` calls it, with the state's tensors of one architecture.
    """

    options: MAMLPlusPlusOptions

    descends: ClassVar[bool] = True
    """Whether steps are gradient steps on all weights at the rates of `rates`, as `SuperNet.descend` takes them."""

    interpolates: ClassVar[bool] = False
    """Whether the meta-gradient is the way back from the adapted weights, as in Reptile, rather than a derivative."""

    needs_features: ClassVar[bool] = False
    """As `MetaLearner.needs_features`."""

    proposes: ClassVar[bool] = False
    """Whether it trains the relaxed network, and proposes what that decodes to, as `MetaLearner.proposes`."""

    def with_prices(self, prices: Params) -> Rule | None:
        """Return this rule for `MetaLearner.with_prices`; ``None`` if it knows no architecture weights."""
        return None

    @property
    def samples(self) -> bool:
        """Whether passes in training draw random numbers: then `network` is given each task's generator."""
        return False

    like_params: ClassVar[str] = ""
    """Prefix of learnt tensors that have the shapes of the parameters whose names follow, and are sliced like these."""

    @abstractmethod
    def init(self, supernet: SuperNet, params: Params, generator: torch.Generator) -> State:
        """Return what is learnt beside the fresh ``params``. Raises `ConfigError` if ``supernet`` cannot be served."""

    @abstractmethod
    def tensors(self, state: State, names: Iterable[str]) -> Params:
        """Return those of a network whose adapted weights are ``names``, by state name; without those `like_params`."""

    @abstractmethod
    def learns(self, name: str) -> bool:
        """Return whether the tensor ``name`` gets a gradient."""

    @abstractmethod
    def update(self, tensors: Params, weights: Params, scales: Mapping[str, float]) -> Update:
        """Return the steps of the inner loop from `tensors`, those that are learnt perhaps with a task dimension.

        ``weights`` are the network's, without one, and ``scales`` multiply their rates.
        """

    def rates(self, tensors: Params, scales: Mapping[str, float]) -> Params:
        """Return the rates (steps, …) of each weight, if it `descends`."""
        raise NotImplementedError

    def rate_gradients(self, ends: Params, steps: Params, scales: Mapping[str, float]) -> Params:
        """Return first-order gradients of `tensors`, summed over tasks, if it `descends`.

        ``ends`` (T, …) are the derivatives by the weights after the last step, and ``steps`` (steps, T, …) the inner
        loop's gradients: a rate's derivative is minus their product.
        """
        raise NotImplementedError

    def adapts(self, supernet: SuperNet, arch: Architecture, names: list[str]) -> list[str]:
        """Return those of the weights ``names`` that the inner loop adapts: all of them by default."""
        return names

    def network(
        self, supernet: SuperNet, arch: Architecture, batched: bool, noise: Sequence[torch.Generator] = ()
    ) -> Callable[..., Tensor]:
        """Return a pass of the inner loop: (parameters, images, stats=…) → logits, of one task or of a batch.

        ``noise`` holds a generator (on the CPU) for each task in training, if it `samples`, and is empty after that.
        """
        return partial(supernet.forward_tasks if batched else supernet.forward, arch=arch)


def adaptable(supernet: SuperNet) -> list[str]:
    """Return the names of the parameters that an inner loop may adapt."""
    return [k for k, role in supernet.roles.items() if role in ADAPTED]


def relaxed(supernet: SuperNet) -> Architecture:
    """Return what stands for the mixture of all options. Raises `ConfigError` if there is none."""
    if supernet.relaxed is None:
        raise ConfigError(
            f"{type(supernet).__name__} has no relaxed network, which the learner searches by architecture weights",
            hint="choose a space that has one, such as space=darts with --set space.mixed=true, or another learner",
        )
    return supernet.relaxed


def by_rates(rates: Mapping[str, Sequence[Tensor] | Tensor]) -> Update:
    """Return gradient steps at ``rates[name][step]``."""
    return Update(step=lambda i, weights, found: {k: w - rates[k][i] * found[k] for k, w in weights.items()})


@frozen
class LayerRates(Rule):
    """A rate for each tensor and step, ``lslr/<name>`` (steps,): fixed in MAML, learnt in MAML++ (LSLR)."""

    def init(self, supernet: SuperNet, params: Params, generator: torch.Generator) -> State:
        o = self.options
        return {f"lslr/{k}": torch.full((o.inner_steps,), o.inner_lr) for k in adaptable(supernet)}

    def tensors(self, state: State, names: Iterable[str]) -> Params:
        return {f"lslr/{k}": by_steps(state[f"lslr/{k}"], self.options.inner_steps) for k in names}

    def learns(self, name: str) -> bool:
        return self.options.learned_rates

    def update(self, tensors: Params, weights: Params, scales: Mapping[str, float]) -> Update:
        rates = self.rates(tensors, scales)
        return by_rates({k: for_steps(v, weights[k].dim()) for k, v in rates.items()})

    def rates(self, tensors: Params, scales: Mapping[str, float]) -> Params:
        return {k: tensors[f"lslr/{k}"] * scale for k, scale in scales.items()}

    def rate_gradients(self, ends: Params, steps: Params, scales: Mapping[str, float]) -> Params:
        products = torch.stack([(steps[k] * end).flatten(2).sum(2) for k, end in ends.items()], 2)  # (steps, T, names)
        factors = products.new_tensor([-scales[k] for k in ends])
        by_name = task_sum((products * factors).transpose(0, 1)).unbind(1)
        return {f"lslr/{k}": by_step for k, by_step in zip(ends, by_name, strict=True)}


def by_steps(values: Tensor, steps: int) -> Tensor:
    """Return the values of the first ``steps`` steps (steps,); the last one is repeated if there are fewer."""
    return values if len(values) == steps else values[torch.arange(steps).clamp(max=len(values) - 1)]


def for_steps(values: Tensor, dims: int) -> Tensor:
    """Return the numbers (steps,), or (T, steps) of tasks, by step; those of tasks fit weights (T, …) with ``dims``."""
    return values if values.dim() == 1 else values.T.view(-1, len(values), *[1] * dims)
