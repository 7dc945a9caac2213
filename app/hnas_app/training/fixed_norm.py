"""Adapted networks that classify one image at a time: normalised by fixed statistics, not by those of a batch.

In the papers, a network that was meta-trained with the statistics of each batch is tested with all query images of a
task in one batch: its output for one image depends on the others. In use, pictures come singly, without such a batch.
Here the statistics are those of the support images after adaption, which stand in for the query's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Literal

from hnas.architecture import Architecture, Proposal
from hnas.episode import Episodes
from hnas.layer import Layer
from hnas.learner import Gradient, Inference, MetaLearner, Progress, Scores, State
from hnas.space import Schedule, SearchSpace
from hnas.supernet import NormStats, Params, SuperNet
from hnas_app.training.setup.returned import adapted_weights

if TYPE_CHECKING:
    import torch
    from torch import Tensor


def support_statistics(
    learner: MetaLearner, supernet: SuperNet, adapted: Params, support_x: Tensor, arch: Architecture
) -> NormStats:
    """Return the statistics of each task's support images (T, N, C, H, W) in its adapted network, to normalise with."""
    import torch

    seen = NormStats("collect")
    with torch.no_grad():
        learner.logits(supernet, adapted, support_x, arch, stats=seen)
    return NormStats(
        "apply", {k: v.detach() for k, v in seen.mean.items()}, {k: v.detach() for k, v in seen.var.items()}
    )


class FixedNorm(MetaLearner):
    """Another meta-learner, whose adapted networks are scored with fixed statistics; all else is unchanged."""

    def __init__(self, learner: MetaLearner) -> None:
        self._learner = learner
        self.any_n_way, self.needs_classes = learner.any_n_way, learner.needs_classes
        self.support_scores, self.needs_features = learner.support_scores, learner.needs_features

    def init(self, supernet: SuperNet, generator: torch.Generator) -> State:
        return self._learner.init(supernet, generator)

    def gradient(
        self, supernet: SuperNet, state: State, episodes: Episodes, arch: Architecture, progress: Progress
    ) -> tuple[Gradient, Scores]:
        return self._learner.gradient(supernet, state, episodes, arch, progress)

    def update(self, state: State, gradient: Gradient, n_tasks: int, progress: Progress) -> None:
        self._learner.update(state, gradient, n_tasks, progress)

    def adapt(self, supernet: SuperNet, state: State, episodes: Episodes, arch: Architecture) -> Params:
        return adapted_weights(self._learner, self._learner.adapt(supernet, state, episodes, arch), len(episodes))

    def logits(
        self, supernet: SuperNet, adapted: Params, x: Tensor, arch: Architecture, *, stats: NormStats | None = None
    ) -> Tensor:
        return self._learner.logits(supernet, adapted, x, arch, stats=stats)

    def score(
        self,
        supernet: SuperNet,
        state: State,
        episodes: Episodes,
        arch: Architecture,
        *,
        on: Literal["query", "support"] = "query",
    ) -> Scores:
        import torch

        from hnas.toolkit.learning import task_scores

        x, y = (episodes.query_x, episodes.query_y) if on == "query" else (episodes.support_x, episodes.support_y)
        adapted = self.adapt(supernet, state, episodes, arch)
        stats = support_statistics(self, supernet, adapted, episodes.support_x, arch)
        with torch.no_grad():
            return task_scores(self.logits(supernet, adapted, x, arch, stats=stats).float(), y)

    def with_steps(self, steps: int) -> MetaLearner | None:
        other = self._learner.with_steps(steps)
        return other and FixedNorm(other)

    def with_prices(self, prices: Params) -> MetaLearner | None:
        other = self._learner.with_prices(prices)
        return other and FixedNorm(other)

    def inference(self, layers: Sequence[Layer], n_way: int, k_shot: int) -> Inference:
        return self._learner.inference(layers, n_way, k_shot)

    def tasks_at_once(self, supernet: SuperNet, arch: Architecture, n_support: int) -> int:
        return self._learner.tasks_at_once(supernet, arch, n_support)

    def schedules(self, space: SearchSpace) -> Mapping[str, Schedule]:
        return self._learner.schedules(space)

    @property
    def proposes(self) -> bool:
        return self._learner.proposes

    def propose(
        self, space: SearchSpace, supernet: SuperNet, state: State, episodes: Episodes
    ) -> Sequence[Architecture | Proposal]:
        return self._learner.propose(space, supernet, state, episodes)
