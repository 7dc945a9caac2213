"""The interface SuperNet: one set of weights for every architecture of a space."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Literal

from hnas.architecture import Architecture, Proposal
from hnas.errors import ConfigError
from hnas.supernet.norm_stats import NormStats

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from hnas.layer import Layer

Params = dict[str, "Tensor"]
Role = Literal["weight", "norm", "meta", "arch"]
"""``weight``: adapted in the inner loop. ``norm``: gamma and beta of a batch normalisation, kept per step by MAML++.
``meta``: used by `SuperNet.share` alone, learnt in the outer loop only. ``arch``: its softmax over the last dimension
weighs options in the network `SuperNet.relaxed`; it is adapted like ``weight``. No architecture of the space has any:
they are neither counted nor exported, and a network that is trained alone is without them."""


class SuperNet(ABC):
    """The network of a search space, as pure functions over a flat dictionary of named tensors.

    It holds no weights itself, so that meta-learners can differentiate through updated ones.
    """

    task_batched: bool = False
    """Whether `forward_tasks` is a real batched path, rather than the default loop."""

    any_n_way: bool = False
    """Whether its weights serve tasks of any number of classes: no parameter depends on ``n_way``.

    The parameters that `head` names then have one row, a weight (1, …) and a bias (1,). `share` copies it for each of
    the ``n_way`` classes that this super-net was made for, so that an inner loop adapts each copy.
    """

    largest: Architecture | None = None
    """The architecture whose weights contain those of all others, if there is one: a teacher for them."""

    relaxed: Architecture | None = None
    """Stands for the mixture of all options, weighed by the parameters of role ``arch``; outside the space.

    All methods take it in place of an architecture, so a meta-learner may train and adapt it like one.
    """

    @property
    @abstractmethod
    def roles(self) -> Mapping[str, Role]:
        """The parameters' names, in order, and the role of each."""

    @abstractmethod
    def init(self, generator: torch.Generator) -> Params:
        """Draw the initial weights of the whole super-net, float32 on the CPU."""

    @abstractmethod
    def share(self, params: Params, arch: Architecture) -> Params:
        """Return the sub-network's part of ``params``: differentiable views, for the names that ``arch`` uses.

        Tensors may carry leading dimensions (steps of `norm` parameters); slicing must leave those alone.
        """

    @abstractmethod
    def forward(self, shared: Params, x: Tensor, arch: Architecture, *, stats: NormStats | None = None) -> Tensor:
        """Return the logits (N, n_way) of images ``x`` (N, C, H, W) with the weights that `share` returned.

        Normalisation is by the statistics of this batch unless ``stats`` says otherwise. Must be twice differentiable
        by autograd in ``shared``.
        """

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
        """Return each task's weights (T, …) after gradient descent on its support set, without a graph.

        All tasks start from ``weights``, the sub-network's parameters of roles ``weight`` and ``arch``. Step ``i``
        descends on the mean cross-entropy of images ``x`` (T, N, C, H, W) with labels ``y`` (T, N), at the learning
        rates ``rates[name][i]``: one for a tensor, or one for each of its elements. It normalises with the parameters
        ``norms[i]`` (and the statistics ``stats[i]``, if given). ``gradients`` receives each step's gradient by name,
        (steps, T, …). Adaption, which needs no meta-gradient, uses this, and so does the inner loop of first-order
        training. The default is autograd; a faster override must agree with it.
        """
        import torch
        from torch.nn import functional as F

        def expand(params: Params) -> Params:
            return {k: v.detach().expand(len(x), *v.shape) for k, v in params.items()}

        adapted = expand(weights)
        kept: dict[str, list[Tensor]] = {k: [] for k in weights}
        for i, norm in enumerate(norms):
            with torch.enable_grad():
                leaves = {k: v.requires_grad_() for k, v in adapted.items()}
                logits = self.forward_tasks(leaves | expand(norm), x, arch, stats=stats[i] if stats else None)
                loss = F.cross_entropy(logits.flatten(0, 1), y.flatten(), reduction="sum") / y.shape[1]
                found = torch.autograd.grad(loss, list(leaves.values()))
            if gradients is not None:
                for name, gradient in zip(leaves, found, strict=True):
                    kept[name].append(gradient)
            steps = zip(adapted.items(), found, strict=True)
            adapted = {k: torch.addcmul(w.detach(), g, rates[k][i].detach(), value=-1) for (k, w), g in steps}
        if gradients is not None:
            gradients |= {k: torch.stack(v) for k, v in kept.items()}
        return adapted

    def decode(self, adapted: Params) -> Sequence[Architecture | Proposal]:
        """Return the architecture of the space that each task's weights (T, …) of the `relaxed` network stand for."""
        raise NotImplementedError(f"{type(self).__name__} has no relaxed network")

    def prices(self, cost: Callable[[Layer], float]) -> Params:
        """Return by the names of architecture weights, in their shapes, what the layers of each option cost."""
        raise NotImplementedError(f"{type(self).__name__} does not price the options of its relaxed network")

    def head(self, arch: Architecture) -> tuple[str, str] | None:
        """Return the names of the final classifier's weight (n_way, …) and bias (n_way,); ``None`` without one."""
        return None

    def features(self, shared: Params, x: Tensor, arch: Architecture, *, stats: NormStats | None = None) -> Tensor:
        """Return the classifier's input (T, N, …), as `forward_tasks` returns logits; the identity takes its place.

        Raises `ConfigError` if the super-net names no `head`.
        """
        import torch

        names = self.head(arch)
        if names is None:
            raise ConfigError(
                f"{type(self).__name__} does not name its classifier, so there are no features before it",
                hint="use a learner that does not compare features, or a space whose super-net implements `head`",
            )
        weight, bias = names
        size = (shape := shared[weight].shape[2:]).numel()
        identity = torch.eye(size, dtype=x.dtype, device=x.device).view(size, *shape).expand(len(x), size, *shape)
        passing = shared | {weight: identity, bias: x.new_zeros(len(x), size)}
        return self.forward_tasks(passing, x, arch, stats=stats).view(*x.shape[:2], *shape)

    def with_drop_block(self, rate: float, generators: Sequence[torch.Generator]) -> SuperNet:
        """Return this super-net as it is in training with DropBlock (Ghiasi et al., NeurIPS 2018).

        Its passes set a share ``rate`` of the features to 0, in blocks drawn by each task's generator (on the CPU).
        `forward_tasks` and `descend` need one for each task, `forward` needs one. Raises `ConfigError` if the space has
        none, as by default.
        """
        raise ConfigError(
            f"{type(self).__name__} has no DropBlock", hint="set learner.drop_block=0, or use a space that has it"
        )

    def fan_ratios(self, arch: Architecture) -> Mapping[str, float]:
        """Return the fan-in of the sub-network's layers divided by that of a medium-sized network, by parameter.

        The weights of a narrow network and those of a wide one are parts of the same tensors. So one inner rate changes
        their outputs by different amounts; a learner may scale it. Parameters left out count as 1. Empty by default.
        """
        return {}

    def macs(self, arch: Architecture) -> int:
        """Return the multiply-accumulates of one image's forward pass; lets a learner distinguish small networks.

        Needed only if `task_batched`.
        """
        raise NotImplementedError(f"{type(self).__name__} sets task_batched but does not implement macs")

    def forward_tasks(self, shared: Params, x: Tensor, arch: Architecture, *, stats: NormStats | None = None) -> Tensor:
        """Return the logits (T, N, n_way) of ``x`` (T, N, C, H, W); every parameter has a leading dimension T.

        Must agree with `forward` of each task alone. The default is a loop; a space may override it with something
        faster and set `task_batched`.
        """
        import torch

        logits = []
        for t in range(x.shape[0]):
            one = None if stats is None else stats.of_task(t)
            logits.append(self.forward({k: v[t] for k, v in shared.items()}, x[t], arch, stats=one))
            if one is not None and stats is not None and stats.mode == "collect":
                stats.append_task(one)
        return torch.stack(logits)
