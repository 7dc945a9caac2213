"""MAML and MAML++ as a meta-learner over the sub-networks of a super-net."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import attrs
import torch
from torch import Tensor

from hnas import Architecture, Episodes, MetaLearner, NormStats, Progress, Proposal, Scores, SearchSpace, SuperNet
from hnas.episode import TENSORS
from hnas.learner import Gradient, State
from hnas.supernet import Params
from hnas.toolkit.learning import adam_state, adam_step, task_accuracies, task_losses, task_scores
from hnas_plugins.meta_learners.batching import Batching, parts
from hnas_plugins.meta_learners.cuda_graphs import Replay
from hnas_plugins.meta_learners.inner_loop import for_tasks, unroll
from hnas_plugins.meta_learners.leaves import Leaves, running_statistics
from hnas_plugins.meta_learners.options import MAMLPlusPlusOptions
from hnas_plugins.meta_learners.rules import LayerRates, Rule, relaxed
from hnas_plugins.meta_learners.running_statistics import update_statistics
from hnas_plugins.meta_learners.schedules import is_second_order, loss_weights, outer_rate


class MAML(MetaLearner):
    """Model-agnostic meta-learning with the six parts of MAML++, each an option, by a rule of the inner loop.

    State: ``params/<name>`` (norm parameters with a leading step dimension under BNWB), what the rule learns (rates
    ``lslr/<name>`` (steps,), by default), ``stats/<layer>.mean|var`` (steps + 1, C) under BNRS (the last row: query
    passes after the last step), and ``outer/…``, the moments of Adam.
    """

    def __init__(self, options: MAMLPlusPlusOptions, rule: Rule | None = None) -> None:
        self._options, self._rule = options, rule or LayerRates(options)
        self.needs_features = self._rule.needs_features
        self._batching = Batching(options)
        self._replay = Replay()

    def init(self, supernet: SuperNet, generator: torch.Generator) -> State:
        o = self._options
        if o.drop_block:
            supernet.with_drop_block(o.drop_block, [])  # or raise now, rather than in a worker
        state: State = {}
        roles, params = supernet.roles, supernet.init(generator)
        for name, value in params.items():
            if roles[name] == "norm" and o.per_step_norm:
                value = value.expand(o.inner_steps, *value.shape).clone()
            state[f"params/{name}"] = value
            if roles[name] == "norm" and o.per_step_statistics:
                layer = name.rpartition(".")[0]
                shape = (o.inner_steps + 1, value.shape[-1])
                state[f"stats/{layer}.mean"] = torch.zeros(shape)
                state[f"stats/{layer}.var"] = torch.ones(shape)
        state |= self._rule.init(supernet, params, generator)
        return state | adam_state(state, self._trained(state))

    def gradient(
        self, supernet: SuperNet, state: State, episodes: Episodes, arch: Architecture, progress: Progress
    ) -> tuple[Gradient, Scores]:
        arch = relaxed(supernet) if self._rule.proposes else arch
        second_order = is_second_order(self._options, progress.epoch)
        weights = tuple(loss_weights(self._options, progress.epoch))
        noise = self._noise(progress, len(episodes))

        def run(inputs: dict[str, Tensor]) -> dict[str, Tensor]:
            part = Episodes(**{n: inputs[f"episodes/{n}"] for n in TENSORS})
            with self._arithmetic(part):
                found, scores = self._meta_gradient(supernet, inputs, part, arch, second_order, weights, noise)
            return found | {"scores/loss": scores.loss, "scores/accuracy": scores.accuracy}

        inputs = state | {f"episodes/{n}": getattr(episodes, n) for n in TENSORS}
        if self._options.cuda_graphs and episodes.support_x.is_cuda and not noise:  # a graph would repeat its masks
            shapes = tuple(tuple(v.shape) for v in inputs.values())
            found = self._replay((supernet, arch, second_order, weights, shapes), run, inputs)
        else:
            found = run(inputs)
        return found, Scores(loss=found.pop("scores/loss"), accuracy=found.pop("scores/accuracy"))

    def _meta_gradient(
        self,
        supernet: SuperNet,
        state: State,
        episodes: Episodes,
        arch: Architecture,
        second_order: bool,
        weights_of_loss: Sequence[float],
        noise: Sequence[torch.Generator],
    ) -> tuple[Gradient, Scores]:
        if self._rule.interpolates:
            return self._way_back(supernet, state, episodes, arch)
        o = self._options
        last_only = not any(weights_of_loss[:-1]) and not o.distillation
        if self._rule.descends and not second_order and last_only and episodes.support_x.is_cpu:
            return self._first_order(supernet, state, episodes, arch, noise)
        learned = self._leaves(supernet, state, arch)
        batched = self._batching.is_one(supernet, arch, episodes)
        losses: list[Tensor] = []
        accuracies: list[Tensor] = []
        answers = self._answers(supernet, state, episodes, arch)
        for number, (x, y, query_x, query_y) in enumerate(_tasks(episodes, batched)):
            own = noise if batched else noise[number : number + 1]
            network = self._rule.network(self._dropping(supernet, own), arch, batched, own)
            own_leaves = batched and x.is_cpu  # of each task; on a GPU they would take memory, and gain nothing
            leaves = learned.of_tasks(len(episodes) if own_leaves else None)
            start, norms = leaves.weights, leaves.norms
            if batched and not own_leaves:
                start, norms = for_tasks(start, len(episodes)), [for_tasks(n, len(episodes)) for n in norms]
            stats = learned.collectors() if o.per_step_statistics else None
            total = torch.zeros((), device=x.device)
            steps = unroll(network, start, norms, leaves.update, x, y, second_order=second_order, stats=stats)
            for step, weights in enumerate(steps):
                if weights_of_loss[step]:
                    final = stats[-1] if stats and step == o.inner_steps - 1 else None
                    logits = network({**weights, **norms[step]}, query_x, stats=final)
                    loss = task_losses(logits, query_y)
                    if answers is not None:
                        soft = answers if batched else answers[number]
                        distance = -(soft * logits.log_softmax(-1)).sum(-1).mean(-1)
                        loss = torch.lerp(loss, distance, o.distillation)
                    total = total + weights_of_loss[step] * loss.sum()
            found = torch.autograd.grad(total, list(leaves.by_name.values()), allow_unused=True)
            rows = (g if own_leaves or g is None else g[None] for g in found)
            learned.add(dict(zip(leaves.by_name, rows, strict=True)))
            losses.append(loss.detach().reshape(-1))
            accuracies.append(task_accuracies(logits.detach(), query_y).reshape(-1))
            if stats:
                learned.add_statistics(stats)
        return learned.gradient(), Scores(loss=torch.cat(losses), accuracy=torch.cat(accuracies))

    def _first_order(
        self, supernet: SuperNet, state: State, episodes: Episodes, arch: Architecture, noise: Sequence[torch.Generator]
    ) -> tuple[Gradient, Scores]:
        """Return the meta-gradient of the last step's loss; the inner loop itself needs no graph."""
        learned = self._leaves(supernet, state, arch)
        losses, accuracies, done = [], [], 0
        for group in self._batching.groups(supernet, arch, episodes):
            network = self._dropping(supernet, noise[done : done + len(group)])
            done += len(group)
            stats = learned.collectors() if self._options.per_step_statistics else None
            steps: Params = {}
            ends = learned.descend(network, group, stats[:-1] if stats else None, steps)
            leaves = {k: v.detach().requires_grad_() for k, v in ends.items()}
            own, norms = learned.norms_of_tasks(len(group))
            logits = network.forward_tasks(leaves | norms[-1], group.query_x, arch, stats=stats[-1] if stats else None)
            loss = task_losses(logits, group.query_y)
            asked = leaves | own
            found = torch.autograd.grad(loss.sum(), list(asked.values()), allow_unused=True)
            gradients = {k: g for k, g in zip(asked, found, strict=True) if g is not None}
            learned.add_first_order({k: g for k, g in gradients.items() if k in leaves}, steps)
            learned.add({k: g for k, g in gradients.items() if k in own})
            losses.append(loss.detach())
            accuracies.append(task_accuracies(logits.detach(), group.query_y))
            if stats:
                learned.add_statistics(stats)
        return learned.gradient(), Scores(loss=torch.cat(losses), accuracy=torch.cat(accuracies))

    def _way_back(
        self, supernet: SuperNet, state: State, episodes: Episodes, arch: Architecture
    ) -> tuple[Gradient, Scores]:
        """Return θ - θ' of an inner loop on all images of a task, and the scores of one on its support set."""
        learned = self._leaves(supernet, state, arch)
        x, y = (torch.cat([getattr(episodes, f"{part}_{n}") for part in ("support", "query")], 1) for n in "xy")
        for group in self._batching.groups(supernet, arch, attrs.evolve(episodes, support_x=x, support_y=y)):
            ends = learned.descend(supernet, group, None)
            learned.add({name: learned.weights[name] - end for name, end in ends.items()})
        return learned.gradient(), self.score(supernet, state, episodes, arch)

    def _answers(self, supernet: SuperNet, state: State, episodes: Episodes, arch: Architecture) -> Tensor | None:
        """Return the query probabilities (T, N, n_way) of the largest sub-network, to distil from."""
        teacher = supernet.largest
        if not self._options.distillation or teacher is None or teacher == arch:
            return None
        learned = self._leaves(supernet, state, teacher)
        with torch.no_grad():
            logits = [
                supernet.forward_tasks(learned.adapted(supernet, group), group.query_x, teacher)
                for group in self._batching.groups(supernet, teacher, episodes)
            ]
        return torch.cat(logits).softmax(-1)

    def update(self, state: State, gradient: Gradient, n_tasks: int, progress: Progress) -> None:
        lr = outer_rate(self._options, progress)
        clamp = self._options.gradient_clamp
        trained = self._trained(state)
        for names, factor in (
            ([n for n in trained if n.startswith("params/")], 1.0),
            ([n for n in trained if not n.startswith("params/")], self._options.rates_lr_factor),
        ):
            adam_step(state, gradient, names, lr=lr * factor, n_tasks=n_tasks, clamp=clamp)
        update_statistics(state, gradient)

    def adapt(self, supernet: SuperNet, state: State, episodes: Episodes, arch: Architecture) -> Params:
        learned = self._leaves(supernet, state, arch)
        with self._arithmetic(episodes):
            parts = [learned.adapted(supernet, e) for e in self._batching.groups(supernet, arch, episodes)]
        return parts[0] if len(parts) == 1 else {k: torch.cat([p[k] for p in parts]) for k in parts[0]}

    def logits(
        self, supernet: SuperNet, adapted: Params, x: Tensor, arch: Architecture, *, stats: NormStats | None = None
    ) -> Tensor:
        """Classify as the network does; without ``stats``, by the running statistics if `adapt` returned them."""
        return supernet.forward_tasks(adapted, x, arch, stats=stats or running_statistics(adapted))

    def score(
        self,
        supernet: SuperNet,
        state: State,
        episodes: Episodes,
        arch: Architecture,
        *,
        on: Literal["query", "support"] = "query",
    ) -> Scores:
        learned = self._leaves(supernet, state, arch)
        scores = []
        for group in self._batching.groups(supernet, arch, episodes):
            x, y = (group.query_x, group.query_y) if on == "query" else (group.support_x, group.support_y)
            with torch.no_grad(), self._arithmetic(group):
                params = learned.adapted(supernet, group)
                pieces = ({k: v[part] for k, v in params.items()} for part in parts(x))
                split = zip(pieces, parts(x), strict=True)
                logits = torch.cat([self.logits(supernet, piece, x[part], arch) for piece, part in split])
            scores.append(task_scores(logits, y))
        return Scores(loss=torch.cat([s.loss for s in scores]), accuracy=torch.cat([s.accuracy for s in scores]))

    def _leaves(self, supernet: SuperNet, state: State, arch: Architecture) -> Leaves:
        return Leaves(supernet, state, arch, self._options, self._rule)

    def _noise(self, progress: Progress, n_tasks: int) -> list[torch.Generator]:
        """Return each task's generator, or none if nothing is random."""
        if not self._options.drop_block and not self._rule.samples:
            return []
        if len(progress.noise) != n_tasks:
            raise ValueError(f"the learner needs a seed for each of {n_tasks} tasks, got {len(progress.noise)}")
        return [torch.Generator().manual_seed(seed) for seed in progress.noise]

    def _dropping(self, supernet: SuperNet, noise: Sequence[torch.Generator]) -> SuperNet:
        return (
            supernet.with_drop_block(self._options.drop_block, noise)
            if self._options.drop_block and noise
            else supernet
        )

    def _arithmetic(self, episodes: Episodes) -> torch.autocast:
        """Return a context in which convolutions use the precision of the options.

        Casts are not cached: the next task's backward pass would go through the graph of the last one's casts.
        """
        lower = self._options.precision == "bfloat16"
        device = episodes.support_x.device.type
        return torch.autocast(device, torch.bfloat16, enabled=lower, cache_enabled=False)

    def with_prices(self, prices: Params) -> MAML | None:
        rule = self._rule.with_prices(prices)
        return None if rule is None else type(self)(self._options, rule)

    @property
    def proposes(self) -> bool:
        return self._rule.proposes

    def propose(
        self, space: SearchSpace, supernet: SuperNet, state: State, episodes: Episodes
    ) -> Sequence[Architecture | Proposal]:
        if not self.proposes:
            return super().propose(space, supernet, state, episodes)
        return supernet.decode(self.adapt(supernet, state, episodes, relaxed(supernet)))

    def with_steps(self, steps: int) -> MAML:
        options = attrs.evolve(self._options, inner_steps=steps)
        return type(self)(options, attrs.evolve(self._rule, options=options))

    def tasks_at_once(self, supernet: SuperNet, arch: Architecture, n_support: int) -> int:
        return self._batching.tasks_at_once(supernet, arch, n_support)

    @staticmethod
    def _trained(state: State) -> list[str]:
        return [n for n in state if not n.startswith(("stats/", "outer/"))]


def _tasks(episodes: Episodes, batched: bool) -> list[tuple[Tensor, Tensor, Tensor, Tensor]]:
    """Return the tensors of each task, or of all of them as one batch."""
    e = episodes
    together = (e.support_x, e.support_y, e.query_x, e.query_y)
    return [together] if batched else list(zip(*together, strict=True))
