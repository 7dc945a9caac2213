"""One architecture of a super-net, as a network of its own, to be re-trained and tested."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from hnas.architecture import Architecture
from hnas.learner import MetaLearner, State
from hnas.supernet import NormStats, Params, Role, SuperNet

if TYPE_CHECKING:
    import torch
    from torch import Tensor


class SubNet(SuperNet):
    """Wrap a super-net so that its parameters are those of one architecture only."""

    def __init__(self, supernet: SuperNet, arch: Architecture, shapes: Mapping[str, tuple[int, ...]]) -> None:
        """Take the shapes of the parameters that ``supernet`` shares with ``arch``."""
        self._supernet, self._arch, self._shapes = supernet, arch, shapes
        self.task_batched, self.any_n_way = supernet.task_batched, supernet.any_n_way
        self._common = (supernet.head(arch) or ()) if supernet.any_n_way else ()
        self.largest = arch
        self.relaxed = supernet.relaxed and arch  # without other options to mix, the mixture is the network

    def __getattr__(self, name: str) -> Any:
        """Return what a space's super-net has beyond the interface, such as methods that its own learner calls."""
        if name == "_supernet":  # a copy or a worker asks before it is set
            raise AttributeError(name)
        return getattr(self._supernet, name)

    @property
    def roles(self) -> Mapping[str, Role]:
        roles = self._supernet.roles
        return {k: roles[k] for k in self._shapes}

    def init(self, generator: torch.Generator) -> Params:
        shared = self._supernet.share(self._supernet.init(generator), self._arch)
        rows = {k: shared[k][:1] for k in self._common}
        return {k: v.contiguous().clone() for k, v in (shared | rows).items()}

    def share(self, params: Params, arch: Architecture) -> Params:
        """Return ``params``; of a classifier that serves any number of classes, a copy of its row for each class."""
        whole = {k: self._shapes[k] for k in self._common}
        return params | {k: params[k].expand(*params[k].shape[: -len(s)], *s) for k, s in whole.items()}

    def forward(self, shared: Params, x: Tensor, arch: Architecture, *, stats: NormStats | None = None) -> Tensor:
        return self._supernet.forward(shared, x, self._arch, stats=stats)

    def forward_tasks(self, shared: Params, x: Tensor, arch: Architecture, *, stats: NormStats | None = None) -> Tensor:
        return self._supernet.forward_tasks(shared, x, self._arch, stats=stats)

    def descend(
        self,
        weights: Params,
        norms: Sequence[Params],
        rates: Mapping[str, Tensor],
        x: Tensor,
        y: Tensor,
        arch: Architecture,
        *,
        stats: Sequence[NormStats] | None = None,
        gradients: dict[str, Tensor] | None = None,
    ) -> Params:
        return self._supernet.descend(weights, norms, rates, x, y, self._arch, stats=stats, gradients=gradients)

    def decode(self, adapted: Params) -> list[Architecture]:
        return [self._arch] * len(next(iter(adapted.values())))

    def head(self, arch: Architecture) -> tuple[str, str] | None:
        return self._supernet.head(self._arch)

    def with_drop_block(self, rate: float, generators: Sequence[torch.Generator]) -> SubNet:
        return SubNet(self._supernet.with_drop_block(rate, generators), self._arch, self._shapes)

    def fan_ratios(self, arch: Architecture) -> Mapping[str, float]:
        return self._supernet.fan_ratios(self._arch)

    def macs(self, arch: Architecture) -> int:
        return self._supernet.macs(self._arch)


def subnet(supernet: SuperNet, arch: Architecture) -> SubNet:
    """Return the network of ``arch`` alone."""
    import torch

    shared = supernet.share(supernet.init(torch.Generator().manual_seed(0)), arch)
    return SubNet(supernet, arch, {k: tuple(v.shape) for k, v in shared.items()})


def warm_start(learner: MetaLearner, supernet: SuperNet, state: State, arch: Architecture, fresh: State) -> State:
    """Return ``fresh`` (a state of the architecture's own network) with its values in the super-net's ``state``.

    Tensors that have the names and shapes of the parameters, such as a rate of each weight, are sliced as these are. It
    takes the first channels of running statistics, which are the architecture's. The outer optimiser starts anew.
    """
    params = {k: state[f"params/{k}"] for k in supernet.roles}
    known = {k: v for k, v in state.items() if not k.startswith(("params/", "outer/"))}
    for kind in dict.fromkeys(["params", *(k.partition("/")[0] for k in known)]):
        like = {k: state[name] for k in params if (name := f"{kind}/{k}") in state}
        if like and all(v.shape == params[k].shape for k, v in like.items()):
            shared = supernet.share(params | like, arch)
            known |= {f"{kind}/{k}": shared[k] for k in like if k in shared}
    return {k: v if (part := first_part(known.get(k), v)) is None else part for k, v in fresh.items()}


def first_part(known: Tensor | None, like: Tensor) -> Tensor | None:
    """Return the first part of a tensor that has the shape of ``like``, if it has one."""
    if known is None or known.dim() != like.dim() or any(a < b for a, b in zip(known.shape, like.shape, strict=True)):
        return None
    return known[tuple(slice(n) for n in like.shape)].clone()
