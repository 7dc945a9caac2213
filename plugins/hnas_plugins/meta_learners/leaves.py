"""The part of a learner's state that one architecture uses, and the gradients that accumulate on it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from attrs import frozen
from torch import Tensor
from torch.nn import functional as F

from hnas import Architecture, Episodes, NormStats, SuperNet
from hnas.learner import Gradient, State
from hnas.supernet import Params
from hnas_plugins.engine.sums import task_sum
from hnas_plugins.meta_learners.inner_loop import Update, for_tasks, unroll
from hnas_plugins.meta_learners.options import MAMLPlusPlusOptions
from hnas_plugins.meta_learners.rules import ADAPTED, Rule

RATED_N_WAY = 5
"""The number of classes that the rates of a classifier of `SuperNet.any_n_way` are for; they grow with the number.

A loss is a mean over images, of which a class has its share. So its vector goes as far in a step, whatever the number.
"""


@frozen(kw_only=True, eq=False)
class TaskLeaves:
    """Leaves of autograd for tasks that are computed at once, and what the inner loop reads of them."""

    by_name: Params
    """By the sub-network's names, and what the rule learns by state name; (T, …) if tasks have their own."""
    weights: Params
    norms: list[Params]
    update: Update


class Leaves:
    """The part of a state that the inner loop needs, sliced for one architecture, and the gradients that it gets.

    ``weights`` are adapted, by the ``rule``; ``norms[step]`` are the other parameters of each step, those of the batch
    normalisations for example. Steps beyond those of the state have the values of its last one.

    On a CPU each task gets a gradient of its own, and the sums over tasks are exact, see `task_sum`: so the sum over a
    meta-batch does not depend on how it was cut into parts.
    """

    def __init__(
        self, supernet: SuperNet, state: State, arch: Architecture, options: MAMLPlusPlusOptions, rule: Rule
    ) -> None:
        self._supernet, self._state, self._arch, self._options, self._rule = supernet, state, arch, options, rule
        self._roles = supernet.roles  # once: a property that may be computed, and this is done for every gradient
        self._common = (supernet.head(arch) or ()) if supernet.any_n_way else ()
        with torch.no_grad():
            params = {k: state[f"params/{k}"].detach() for k in self._roles}
            self._whole = {"": params}
            if rule.like_params:
                self._whole[rule.like_params] = {k: state.get(f"{rule.like_params}{k}", v) for k, v in params.items()}
            self._shared = {prefix: self._share(whole) for prefix, whole in self._whole.items()}
        values = {k: _compact(v) for k, v in self._shared[""].items()}
        adapted = rule.adapts(supernet, arch, [k for k in values if self._roles[k] in ADAPTED])
        self.weights = {k: values[k] for k in adapted}
        self._others = {k: v for k, v in values.items() if k not in self.weights}
        norms = [k for k in self._others if self._roles[k] == "norm"]
        self._per_step = set(norms) if options.per_step_norm else set()
        fans = supernet.fan_ratios(arch)
        power = {"none": (0.0, 0.0), "head": (0.0, -1.0), "sqrt": (0.5, -1.0), "linear": (1.0, -1.0)}
        conv, head = power[options.rate_scaling]
        scales = {k: fans.get(k, 1.0) ** (conv if v.dim() == 4 else head) for k, v in self.weights.items()}
        common = {k: scales[k] * len(self.weights[k]) / RATED_N_WAY for k in self._common if k in scales}
        self._scales = scales | common
        self._tensors = rule.tensors(state, self.weights)
        if rule.like_params:
            own = self._shared[rule.like_params]
            self._tensors |= {f"{rule.like_params}{k}": _compact(own[k]) for k in self.weights}
        self._learned = {k: v for k, v in self._tensors.items() if rule.learns(k)}
        self.norms = self._by_step(self._others, 0)
        self._channels = {k.rpartition(".")[0]: values[k].shape[-1] for k in norms}
        self._sums: dict[str, Tensor] = {}

    def _share(self, params: Params) -> Params:
        return self._supernet.share(params, self._arch)

    def _by_step(self, others: Params, at: int) -> list[Params]:
        steps = range(self._options.inner_steps)
        return [
            {k: v.select(at, min(s, v.shape[at] - 1)) if k in self._per_step else v for k, v in others.items()}
            for s in steps
        ]

    def norms_of_tasks(self, n_tasks: int) -> tuple[Params, list[Params]]:
        """Return leaves of autograd (T, …) for what is not adapted, and these parameters of each step."""
        leaves = {k: v.detach().requires_grad_() for k, v in for_tasks(self._others, n_tasks).items()}
        return leaves, self._by_step(leaves, 1)

    def of_tasks(self, n_tasks: int | None) -> TaskLeaves:
        """Return leaves with a leading dimension of ``n_tasks``, or without one."""
        values = {**self.weights, **self._others, **self._learned}
        each = values if n_tasks is None else for_tasks(values, n_tasks)
        leaves = {k: v.detach().requires_grad_() for k, v in each.items()}
        tensors = {k: leaves.get(k, v) for k, v in self._tensors.items()}
        return TaskLeaves(
            by_name=leaves,
            weights={k: leaves[k] for k in self.weights},
            norms=self._by_step({k: leaves[k] for k in self._others}, 0 if n_tasks is None else 1),
            update=self._rule.update(tensors, self.weights, self._scales),
        )

    def add(self, gradients: Mapping[str, Tensor | None]) -> None:
        """Accumulate gradients by the names of `TaskLeaves.by_name`, each (T, …)."""
        for name, gradient in gradients.items():
            if gradient is not None:
                self._add(name, task_sum(gradient))

    def _add(self, name: str, value: Tensor) -> None:
        self._sums[name] = self._sums[name] + value if name in self._sums else value

    def gradient(self) -> Gradient:
        """Return the accumulated gradients by state name, in the state's shapes.

        The classifier of `SuperNet.any_n_way` has none: a softmax does not see what all classes start with. What
        autograd finds is rounding, which Adam would scale up to whole steps.
        """
        for name in self._common:
            self._sums.pop(name, None)
        placed: Gradient = {}
        for prefix, shared in self._shared.items():
            own = {k: self._sums.pop(f"{prefix}{k}") for k in shared if f"{prefix}{k}" in self._sums}
            found = self._placed(own, shared, self._whole[prefix])
            placed |= {f"{prefix or 'params/'}{k}": v for k, v in found.items()}
        return placed | self._sums

    def _placed(self, own: Params, shared: Params, whole: Params) -> Params:
        """Return gradients by the parameters of this network, ``shared``, in their places in ``whole``."""
        if all(_is_slice(shared[k], whole.get(k)) for k in own):
            return {k: _placed(v, shared[k], whole[k]) for k, v in own.items()}
        # Computed of several, perhaps: this rounds then, so the sum over parts of a meta-batch is no longer exact.
        full = {k: v.detach().to(next(iter(own.values())).dtype).requires_grad_() for k, v in whole.items()}
        with torch.enable_grad():
            outputs = self._share(full)
        found = torch.autograd.grad(
            [outputs[k] for k in own], list(full.values()), list(own.values()), allow_unused=True
        )
        return {k: g for k, g in zip(full, found, strict=True) if g is not None}

    def descend(
        self, supernet: SuperNet, tasks: Episodes, stats: Sequence[NormStats] | None, gradients: Params | None = None
    ) -> Params:
        """Run the inner loop of tasks at once, as `SuperNet.descend` does; ``gradients`` if the rule `descends`."""
        x, y = tasks.support_x, tasks.support_y
        if self._rule.descends:
            norms = [{k: v.detach() for k, v in norm.items()} for norm in self.norms]
            rates = self._rule.rates(self._tensors, self._scales)
            return supernet.descend(self.weights, norms, rates, x, y, self._arch, stats=stats, gradients=gradients)
        network = self._rule.network(supernet, self._arch, True)
        weights = {k: v.detach().requires_grad_() for k, v in for_tasks(self.weights, len(tasks)).items()}
        norms = [for_tasks(norm, len(tasks)) for norm in self.norms]
        update = self._rule.update(self._tensors, self.weights, self._scales)
        with torch.enable_grad():
            *_, ends = unroll(network, weights, norms, update, x, y, second_order=False, stats=stats)
        return {k: v.detach() for k, v in ends.items()}

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
        ``steps`` (steps, T, …) are the inner loop's gradients, for those by the rates.
        """
        self.add(ends)
        if self._learned:
            for name, value in self._rule.rate_gradients(ends, steps, self._scales).items():
                self._add(name, value)

    def collectors(self) -> list[NormStats]:
        """Return one empty collection for each step's support pass, and one for the final query pass."""
        return [NormStats("collect") for _ in range(self._options.inner_steps + 1)]

    def add_statistics(self, collected: Sequence[NormStats]) -> None:
        """Add the statistics of one task, or one batch of tasks, and count the tasks of each channel."""
        for layer, channels in self._channels.items():
            for part in ("mean", "var"):
                rows = torch.stack([getattr(c, part)[layer] for c in collected], -2)  # ([T,] steps+1, C)
                n_tasks = len(rows) if rows.dim() == 3 else 1
                found = task_sum(rows.view(n_tasks, *rows.shape[-2:]))
                others = self._state[f"stats/{layer}.{part}"].shape[-1] - channels
                self._add(f"stats/{layer}.{part}", F.pad(found, (0, others)))
            self._add(f"count/{layer}", F.pad(found.new_full((channels,), n_tasks), (0, others)))

    def running(self, n_tasks: int) -> list[NormStats] | None:
        """Return the running statistics of each step to normalise with, or ``None`` if the batch's are used."""
        if self._options.statistics == "batch" or not self._options.per_step_statistics:
            return None
        return [self._row(step, n_tasks) for step in range(self._options.inner_steps)]

    def final_statistics(self, n_tasks: int) -> NormStats | None:
        """Return the running statistics of the query pass, or ``None``."""
        return self._row(self._options.inner_steps, n_tasks, final=True) if self.running(n_tasks) else None

    def _row(self, step: int, n_tasks: int, *, final: bool = False) -> NormStats:
        def pick(part: str) -> dict[str, Tensor]:
            rows = {k: (self._state[f"stats/{k}.{part}"], n) for k, n in self._channels.items()}
            return {k: v[min(step, len(v) - 2 + final), :n].expand(n_tasks, -1) for k, (v, n) in rows.items()}

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


def _is_slice(part: Tensor, whole: Tensor | None) -> bool:
    """Return whether ``part`` is a view of some elements of ``whole``, each once."""
    if whole is None or not whole.is_contiguous() or 0 in part.stride():
        return False
    return part.untyped_storage().data_ptr() == whole.untyped_storage().data_ptr()


def _placed(value: Tensor, part: Tensor, whole: Tensor) -> Tensor:
    """Return zeros of the shape of ``whole`` with ``value`` in the place of its view ``part``."""
    found = torch.zeros(whole.shape, dtype=value.dtype, device=value.device)
    found.as_strided(part.shape, part.stride(), part.storage_offset() - whole.storage_offset()).copy_(value)
    return found


def _compact(x: Tensor) -> Tensor:
    """Copy a slice into its own memory, convolutions channels-last: the order that is fast on a CPU."""
    return x.contiguous(memory_format=torch.channels_last if x.dim() == 4 else torch.contiguous_format)
