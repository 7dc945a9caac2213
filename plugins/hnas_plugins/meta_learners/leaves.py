"""The part of a learner's state that one architecture uses, and the gradients that accumulate on it."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from hnas import Architecture, Episodes, NormStats, SuperNet
from hnas.learner import Gradient, State
from hnas.supernet import Params
from hnas_plugins.meta_learners.inner_loop import for_tasks
from hnas_plugins.meta_learners.options import MAMLPlusPlusOptions

ADAPTED = ("weight", "arch")
"""The roles of parameters that the inner loop adapts."""

RATED_N_WAY = 5
"""The number of classes that the rates of a classifier of `SuperNet.any_n_way` are for; they grow with the number.

A loss is a mean over images, of which a class has its share. So its vector goes as far in a step, whatever the number.
"""


class Leaves:
    """The part of a state that the inner loop needs, sliced for one architecture: leaves that gradients accumulate on.

    ``weights`` are adapted; ``norms[step]`` are the batch-normalisation parameters of each step and ``rates`` the
    learning rates, name → (steps,).
    """

    def __init__(self, supernet: SuperNet, state: State, arch: Architecture, options: MAMLPlusPlusOptions) -> None:
        self._state, self._arch, self._options = state, arch, options
        roles = supernet.roles  # once: a property that may be computed, and this is done for every gradient
        self._common = (supernet.head(arch) or ()) if supernet.any_n_way else ()
        self._full = {k: state[f"params/{k}"].detach().requires_grad_() for k in roles}
        with torch.enable_grad():
            self._shared = supernet.share(self._full, arch)
        leaf = {k: _compact(v.detach()).requires_grad_() for k, v in self._shared.items()}
        self.weights = {k: v for k, v in leaf.items() if roles[k] in ADAPTED}
        norm = {k: v for k, v in leaf.items() if roles[k] == "norm"}
        fans = supernet.fan_ratios(arch)
        power = {"none": (0.0, 0.0), "head": (0.0, -1.0), "sqrt": (0.5, -1.0), "linear": (1.0, -1.0)}
        conv, head = power[options.rate_scaling]
        scales = {k: fans.get(k, 1.0) ** (conv if v.dim() == 4 else head) for k, v in self.weights.items()}
        self._scales = scales | {k: scales[k] * len(self.weights[k]) / RATED_N_WAY for k in self._common}
        self.rates = {
            k: (state[f"lslr/{k}"].detach() * scale).requires_grad_(options.learned_rates)
            for k, scale in self._scales.items()
        }
        per_step = options.per_step_norm
        self.norms = [{k: v[s] if per_step else v for k, v in norm.items()} for s in range(options.inner_steps)]
        self._leaf = leaf
        self._channels = {k.rpartition(".")[0]: v.shape[-1] for k, v in norm.items()}
        self._sums: dict[str, Tensor] = {}

    @property
    def norm_leaves(self) -> list[Tensor]:
        return [v for k, v in self._leaf.items() if k not in self.rates]

    @property
    def leaves(self) -> list[Tensor]:
        return [t for t in (*self._leaf.values(), *self.rates.values()) if t.requires_grad]

    def gradient(self) -> Gradient:
        """Return the accumulated gradients by state name, in the state's shapes.

        The classifier of `SuperNet.any_n_way` has none: a softmax does not see what all classes start with. What
        autograd finds is rounding, which Adam would scale up to whole steps.
        """
        used = {k: v.grad for k, v in self._leaf.items() if v.grad is not None and k not in self._common}
        full = torch.autograd.grad(
            [self._shared[k] for k in used], list(self._full.values()), list(used.values()), allow_unused=True
        )
        found = {f"params/{k}": g for k, g in zip(self._full, full, strict=True) if g is not None}
        for k, v in self.rates.items():
            if v.grad is not None:
                found[f"lslr/{k}"] = v.grad * self._scales[k]
        return found | self._sums

    def descend(
        self, supernet: SuperNet, tasks: Episodes, stats: Sequence[NormStats] | None, gradients: Params | None = None
    ) -> Params:
        """Run the inner loop of some tasks at once, as `SuperNet.descend` does."""
        norms = [{k: v.detach() for k, v in norm.items()} for norm in self.norms]
        x, y = tasks.support_x, tasks.support_y
        return supernet.descend(self.weights, norms, self.rates, x, y, self._arch, stats=stats, gradients=gradients)

    def adapted(self, supernet: SuperNet, tasks: Episodes) -> Params:
        """Run the inner loop of some tasks at once without a graph; return the weights for `MAML.logits`.

        Running statistics come with them, as ``stats/<layer>.mean`` and ``.var`` (T, C), if they are used.
        """
        weights = self.descend(supernet, tasks, self.running(len(tasks)))
        if row := self.final_statistics(len(tasks)):
            for part in ("mean", "var"):
                weights |= {f"stats/{k}.{part}": v for k, v in getattr(row, part).items()}
        return weights | {k: v.detach() for k, v in for_tasks(self.norms[-1], len(tasks)).items()}

    def add_first_order(self, ends: Params, steps: Params) -> None:
        """Accumulate the gradient that does not go through the inner loop's gradients.

        ``ends`` (T, …) are the derivatives by the weights after the last step, taken as those by the initial weights.
        ``steps`` (steps, T, …) are the inner loop's gradients: a learning rate's derivative is minus their product with
        ``ends``.
        """
        for name, end in ends.items():
            _accumulate(self._leaf[name], end.sum(0))
            if self.rates[name].requires_grad:
                _accumulate(self.rates[name], -(steps[name] * end).flatten(1).sum(1))

    def collectors(self) -> list[NormStats]:
        """Return one empty collection for each step's support pass, and one for the final query pass."""
        return [NormStats("collect") for _ in range(self._options.inner_steps + 1)]

    def add_statistics(self, collected: Sequence[NormStats]) -> None:
        """Add the statistics of one task, or one batch of tasks, and count the tasks of each channel."""
        for layer, channels in self._channels.items():
            n_tasks = 1
            for part in ("mean", "var"):
                rows = torch.stack([getattr(c, part)[layer] for c in collected])  # (steps+1, [T,] C)
                if rows.dim() == 3:
                    n_tasks, rows = rows.shape[1], rows.sum(1)
                self._summed(f"stats/{layer}.{part}", self._state[f"stats/{layer}.{part}"])[:, :channels] += rows
            self._summed(f"count/{layer}", self._state[f"stats/{layer}.mean"][0])[:channels] += n_tasks

    def _summed(self, name: str, like: Tensor) -> Tensor:
        if name not in self._sums:
            self._sums[name] = torch.zeros_like(like)
        return self._sums[name]

    def running(self, n_tasks: int) -> list[NormStats] | None:
        """Return the running statistics of each step to normalise with, or ``None`` if the batch's are used."""
        if self._options.statistics == "batch" or not self._options.per_step_statistics:
            return None
        return [self._row(step, n_tasks) for step in range(self._options.inner_steps)]

    def final_statistics(self, n_tasks: int) -> NormStats | None:
        """Return the running statistics of the query pass, or ``None``."""
        return self._row(-1, n_tasks) if self.running(n_tasks) else None

    def _row(self, row: int, n_tasks: int) -> NormStats:
        def pick(part: str) -> dict[str, Tensor]:
            rows = {k: self._state[f"stats/{k}.{part}"][row, :n] for k, n in self._channels.items()}
            return {k: v.expand(n_tasks, -1) for k, v in rows.items()}

        return NormStats("apply", pick("mean"), pick("var"))


def running_statistics(adapted: Params) -> NormStats | None:
    """Return the running statistics among the weights of `Leaves.adapted`, or ``None``."""
    means, variances = (
        {
            k.removeprefix("stats/").removesuffix(end): v
            for k, v in adapted.items()
            if k.startswith("stats/") and k.endswith(end)
        }
        for end in (".mean", ".var")
    )
    return NormStats("apply", means, variances) if means else None


def _accumulate(leaf: Tensor, gradient: Tensor) -> None:
    leaf.grad = gradient if leaf.grad is None else leaf.grad + gradient


def _compact(x: Tensor) -> Tensor:
    """Copy a slice into its own memory, convolutions channels-last: the order that is fast on a CPU."""
    return x.contiguous(memory_format=torch.channels_last if x.dim() == 4 else torch.contiguous_format)
