"""The meta-learner that compares features: one pass of the support images, and no inner loop."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod
from typing import Literal

import torch
from torch import Tensor

from hnas import (
    Architecture,
    ConfigError,
    DataError,
    Episodes,
    Inference,
    Layer,
    MetaLearner,
    NormStats,
    Progress,
    Scores,
    SuperNet,
)
from hnas.learner import Gradient, State
from hnas.supernet import Params
from hnas.toolkit.learning import adam_state, adam_step, task_accuracies, task_scores
from hnas_plugins.engine.sums import task_sum
from hnas_plugins.meta_learners.batching import Batching
from hnas_plugins.meta_learners.inner_loop import for_tasks
from hnas_plugins.meta_learners.options import MAMLPlusPlusOptions
from hnas_plugins.meta_learners.schedules import outer_rate
from hnas_plugins.metric_learners.options import ComparingOptions
from hnas_plugins.metric_learners.rule import Rule, Size

BYTES = 4
"""Of a number, float32."""
OWN, KEPT = "own/", "kept"
"""Names of the rule's parameters, in the state as well, and of what is kept of a task, among adapted weights."""


class Comparing(MetaLearner):
    """Trains a super-net so that a `Rule` classifies by its features; the super-net's classifier is not used.

    State: ``params/<name>``, ``own/<name>`` for the parameters of the rule, and ``outer/…``, the moments of Adam. The
    gradient of each task is computed alone, and sums over tasks are exact, as MAML's are.
    """

    any_n_way = needs_features = True
    support_scores = False  # a support image would be compared with itself

    def __init__(self, options: ComparingOptions, rule: Rule) -> None:
        self._options, self._rule = options, rule
        # The schedule and the batching of MAML; a pass of the support images takes about as much as one step.
        self._like = MAMLPlusPlusOptions(
            inner_steps=1,
            meta_lr=options.meta_lr,
            meta_lr_end=options.meta_lr_end,
            batch_below_gflop=options.batch_below_gflop,
        )
        self._batching = Batching(self._like)

    def init(self, supernet: SuperNet, generator: torch.Generator) -> State:
        params = supernet.init(generator)
        state: State = {f"params/{k}": v for k, v in params.items()}
        if type(self._rule).init is not Rule.init:
            if supernet.largest is None:
                raise ConfigError(
                    f"{type(supernet).__name__} names no largest architecture, so the size of the largest features is "
                    f"not known, which the learner {type(self._rule).__name__} has parameters for",
                    hint="use the learner prototypical or matching, or a space whose super-net has `largest`",
                )
            size = _size(supernet, supernet.share(params, supernet.largest), supernet.largest)
            state |= {OWN + k: v for k, v in self._rule.init(size, generator).items()}
        return state | adam_state(state, list(state))

    def gradient(
        self, supernet: SuperNet, state: State, episodes: Episodes, arch: Architecture, progress: Progress
    ) -> tuple[Gradient, Scores]:
        values, sums = self._values(supernet, state, arch), dict[str, Tensor]()
        losses, accuracies = [], []
        for group in self._batching.groups(supernet, arch, episodes):
            leaves = {k: v.detach().requires_grad_() for k, v in for_tasks(values, len(group)).items()}
            logits, loss, y = self._losses(supernet, leaves, group, arch, progress)
            found = torch.autograd.grad(loss.sum(), list(leaves.values()), allow_unused=True)
            for name, each in zip(leaves, found, strict=True):
                if each is not None:
                    one = task_sum(each)
                    sums[name] = sums[name] + one if name in sums else one
            losses.append(loss.detach())
            accuracies.append(task_accuracies(logits.detach(), y))
        scores = Scores(loss=torch.cat(losses), accuracy=torch.cat(accuracies))
        return self._placed(supernet, state, arch, sums), scores

    def _losses(
        self, supernet: SuperNet, weights: Params, tasks: Episodes, arch: Architecture, progress: Progress
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return logits (T, N, …), the loss of each task and the labels (T, N), with weights (T, …)."""
        kept, x = self._with_kept(supernet, weights, tasks, arch), tasks.query_x
        features = self._features(supernet, weights, x, arch, None)
        logits, losses = self._each(self._rule.losses, _own(weights), kept[KEPT], features, tasks.query_y)
        return logits, losses, tasks.query_y

    def update(self, state: State, gradient: Gradient, n_tasks: int, progress: Progress) -> None:
        names = [n for n in state if n.startswith(("params/", OWN))]
        lr, clamp = outer_rate(self._like, progress), self._options.gradient_clamp
        adam_step(state, gradient, names, lr=lr, n_tasks=n_tasks, clamp=clamp)

    def adapt(self, supernet: SuperNet, state: State, episodes: Episodes, arch: Architecture) -> Params:
        """Return the weights, which are the same for all tasks, and what is kept of each task's support images."""
        values = self._values(supernet, state, arch)
        with torch.no_grad():
            parts = [
                self._with_kept(supernet, for_tasks(values, len(group)), group, arch)
                for group in self._batching.groups(supernet, arch, episodes)
            ]
        return parts[0] if len(parts) == 1 else {k: torch.cat([p[k] for p in parts]) for k in parts[0]}

    def logits(
        self, supernet: SuperNet, adapted: Params, x: Tensor, arch: Architecture, *, stats: NormStats | None = None
    ) -> Tensor:
        features = self._features(supernet, adapted, x, arch, stats)
        (found,) = self._each(lambda *given: (self._rule.logits(*given),), _own(adapted), adapted[KEPT], features)
        return found

    def score(
        self,
        supernet: SuperNet,
        state: State,
        episodes: Episodes,
        arch: Architecture,
        *,
        on: Literal["query", "support"] = "query",
    ) -> Scores:
        scores = []
        for group in self._batching.groups(supernet, arch, episodes):
            x, y = (group.query_x, group.query_y) if on == "query" else (group.support_x, group.support_y)
            with torch.no_grad():
                logits = self.logits(supernet, self.adapt(supernet, state, group, arch), x, arch)
            scores.append(task_scores(logits, y))
        return Scores(loss=torch.cat([s.loss for s in scores]), accuracy=torch.cat([s.accuracy for s in scores]))

    def inference(self, layers: Sequence[Layer], n_way: int, k_shot: int) -> Inference:
        """Count the comparisons, in place of the classifier that costs include, and what is kept of the task.

        With ``keep="images"`` a device keeps the support images, and computes their features for every prediction.
        """
        size = _features_of(layers)
        stored, passes = BYTES * self._rule.stored(size, n_way, k_shot), 1.0
        more = self._rule.macs(size, n_way, k_shot) - layers[-1].macs
        if self._options.keep == "images":
            passes += n_way * k_shot
            stored += BYTES * n_way * k_shot * prod(layers[0].in_shape)
        return Inference(passes=passes + max(0, more) / sum(layer.macs for layer in layers), stored=stored)

    def tasks_at_once(self, supernet: SuperNet, arch: Architecture, n_support: int) -> int:
        return self._batching.tasks_at_once(supernet, arch, n_support)

    def _values(self, supernet: SuperNet, state: State, arch: Architecture) -> Params:
        """Return the weights of an architecture, and the part of the rule's parameters that it uses."""
        with torch.no_grad():
            return self._part(supernet, {k: v for k, v in state.items() if not k.startswith("outer/")}, arch)

    def _part(self, supernet: SuperNet, state: State, arch: Architecture) -> Params:
        shared = supernet.share({k: state[f"params/{k}"] for k in supernet.roles}, arch)
        if own := _own(state):
            own = self._rule.own(own, _size(supernet, shared, arch))
        return shared | {OWN + k: v for k, v in own.items()}

    def _with_kept(self, supernet: SuperNet, weights: Params, episodes: Episodes, arch: Architecture) -> Params:
        features, y = self._features(supernet, weights, episodes.support_x, arch, None), episodes.support_y
        n_way = int(y.max()) + 1 if y.numel() else 0
        if not n_way or y.shape[1] % n_way or not bool((y[0].bincount() == y.shape[1] // n_way).all()):
            raise DataError(
                f"a task's support images have labels {y[0].tolist() if len(y) else []}; features are compared with "
                "those of every class, so each needs an image, and all as many",
                hint="set task.k_shot to 1 or more, and give pictures of each class",
            )
        support = features.reshape(len(y), n_way, -1, *features.shape[2:])  # labels stand class by class
        return weights | {KEPT: self._rule.keep(_own(weights), support)}

    def _features(
        self, supernet: SuperNet, weights: Params, x: Tensor, arch: Architecture, stats: NormStats | None
    ) -> Tensor:
        shared = {k: v for k, v in weights.items() if k != KEPT and not k.startswith(OWN)}
        found = supernet.features(shared, x, arch, stats=stats)
        return found[..., None] if found.dim() == 3 else found.flatten(3)

    def _each(self, compare: Callable[..., tuple[Tensor, ...]], own: Params, *given: Tensor) -> list[Tensor]:
        """Compare the tasks of a batch, one after the other unless the rule says otherwise."""
        if self._rule.batched or len(given[0]) == 1:
            return list(compare(own, *given))
        tasks = [slice(t, t + 1) for t in range(len(given[0]))]
        parts = [compare({k: v[t] for k, v in own.items()}, *(g[t] for g in given)) for t in tasks]
        return [torch.cat(part) for part in zip(*parts, strict=True)]

    def _placed(self, supernet: SuperNet, state: State, arch: Architecture, sums: Params) -> Gradient:
        """Return the gradients of an architecture's weights in the places of the state's tensors, as float64."""
        dtype = next(iter(sums.values())).dtype
        full = {k: v.detach().to(dtype).requires_grad_() for k, v in state.items() if k.startswith(("params/", OWN))}
        with torch.enable_grad():
            part = self._part(supernet, full, arch)
        outputs = [part[k] for k in sums]
        found = torch.autograd.grad(outputs, list(full.values()), list(sums.values()), allow_unused=True)
        return {k: g for k, g in zip(full, found, strict=True) if g is not None}


def _own(tensors: Params) -> Params:
    """Return the rule's parameters by their own names."""
    return {k.removeprefix(OWN): v for k, v in tensors.items() if k.startswith(OWN)}


def _features_of(layers: Sequence[Layer]) -> Size:
    """Return channels and places of the features that the last layer reads: a pooled map, or any numbers."""
    numbers = layers[-1].in_shape[0]
    channels = layers[-2].out_shape[0] if len(layers) > 1 else numbers
    return (channels, numbers // channels) if numbers % channels == 0 else (numbers, 1)


def _size(supernet: SuperNet, shared: Params, arch: Architecture) -> Size:
    """Return channels and places of an architecture's features, by the classifier that reads them."""
    head = supernet.head(arch)
    if head is None:
        raise ConfigError(
            f"{type(supernet).__name__} does not name its classifier, so there are no features before it",
            hint="use a learner that does not compare features, or a space whose super-net implements `head`",
        )
    channels, *places = shared[head[0]].shape[1:]
    return channels, torch.Size(places).numel()
