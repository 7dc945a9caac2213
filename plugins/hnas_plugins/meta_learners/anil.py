"""ANIL: an inner loop that adapts the classifier only (Raghu, Raghu, Bengio and Vinyals, ICLR 2020)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

import torch
from attrs import field, frozen
from torch import Tensor

from hnas import Architecture, ConfigError, NormStats, SuperNet
from hnas.learner import State
from hnas.supernet import Params
from hnas_plugins.meta_learners.inner_loop import Update
from hnas_plugins.meta_learners.maml import MAML
from hnas_plugins.meta_learners.options import ANILOptions
from hnas_plugins.meta_learners.rules import LayerRates, Rule


def anil(options: ANILOptions) -> MAML:
    """Return the learner."""
    return MAML(options, ClassifierRates(options))


@frozen
class ClassifierRates(Rule):
    """MAML's steps on the classifier, which `SuperNet.head` names; all else is learnt in the outer loop only."""

    options: ANILOptions
    descends = False
    needs_features = True
    _rates: LayerRates = field(init=False)

    @_rates.default
    def _layer_rates(self) -> LayerRates:
        return LayerRates(self.options)

    def init(self, supernet: SuperNet, params: Params, generator: torch.Generator) -> State:
        """Return rates of all weights: which of them are a classifier's may depend on the architecture."""
        if type(supernet).head is SuperNet.head:
            raise _without_head(supernet)
        return self._rates.init(supernet, params, generator)

    def tensors(self, state: State, names: Iterable[str]) -> Params:
        return self._rates.tensors(state, names)

    def learns(self, name: str) -> bool:
        return self._rates.learns(name)

    def update(self, tensors: Params, weights: Params, scales: Mapping[str, float]) -> Update:
        return self._rates.update(tensors, weights, scales)

    def adapts(self, supernet: SuperNet, arch: Architecture, names: list[str]) -> list[str]:
        return list(_head(supernet, arch))

    def network(
        self, supernet: SuperNet, arch: Architecture, batched: bool, noise: Sequence[torch.Generator] = ()
    ) -> Callable[..., Tensor]:
        return _Classifier(supernet, arch, batched, once=not self.options.per_step_norm)


class _Classifier:
    """Passes of a network of which only the classifier changes: features of the same images are computed ``once``.

    With DropBlock they are dropped once, too.
    """

    def __init__(self, supernet: SuperNet, arch: Architecture, batched: bool, once: bool) -> None:
        self._supernet, self._arch, self._batched, self._once = supernet, arch, batched, once
        self._names = _head(supernet, arch)
        self._known: list[tuple[Tensor, Tensor, NormStats]] = []

    def __call__(self, params: Params, x: Tensor, *, stats: NormStats | None = None) -> Tensor:
        features = self._features(params, x, stats)
        weight, bias = (params[name] for name in self._names)
        if not self._batched:
            return torch.addmm(bias, features, weight.flatten(1).T)
        return torch.baddbmm(bias[:, None], features, weight.flatten(2).transpose(1, 2))

    def _features(self, params: Params, x: Tensor, stats: NormStats | None) -> Tensor:
        """Return the flat features ([T,] N, F) of images, and collect the statistics of their normalisations."""
        if stats is not None and stats.mode == "apply":
            return self._computed(params, x, stats)
        known = next((known for known in self._known if known[0] is x), None)
        if known is None:
            seen = NormStats("collect")
            known = (x, self._computed(params, x, seen), seen)
            self._known += [known] if self._once else []
        _, features, seen = known
        if stats is not None:
            stats.mean |= seen.mean
            stats.var |= seen.var
        return features

    def _computed(self, params: Params, x: Tensor, stats: NormStats) -> Tensor:
        if self._batched:
            return self._supernet.features(params, x, self._arch, stats=stats).flatten(2)
        seen = NormStats("collect")
        features = self._supernet.features({k: v[None] for k, v in params.items()}, x[None], self._arch, stats=seen)
        stats.mean |= {k: v[0] for k, v in seen.mean.items()}
        stats.var |= {k: v[0] for k, v in seen.var.items()}
        return features[0].flatten(1)


def _head(supernet: SuperNet, arch: Architecture) -> tuple[str, str]:
    names = supernet.head(arch)
    if names is None:
        raise _without_head(supernet)
    return names


def _without_head(supernet: SuperNet) -> ConfigError:
    return ConfigError(
        f"{type(supernet).__name__} does not name its classifier, which is all that the learner anil adapts",
        hint="choose learner=maml, or a space whose super-net implements `head`",
    )
