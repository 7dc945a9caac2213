"""A meta-learner in user code: Reptile, whose meta-gradient is simply the way that the inner loop went.

hnas run --preset quick --learner ./examples/custom_learner.py:Reptile
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

from attrs import evolve, frozen

from hnas import Architecture, Episodes, MetaLearner, Progress, Scores, SuperNet
from hnas.learner import Gradient, State
from hnas.settings import positive, setting
from hnas.supernet import Params

if TYPE_CHECKING:
    import torch
    from torch import Tensor


class Reptile(MetaLearner):
    """First-order meta-learning without query images (Nichol, Achiam, Schulman, arXiv:1803.02999, Algorithm 2)."""

    @frozen(kw_only=True)
    class Options:
        """Options for ``--set learner.KEY=VALUE`` and the table ``[learner]``."""

        inner_steps: int = setting(5, "gradient steps of the inner loop", positive)
        inner_lr: float = setting(0.1, "its learning rate", positive)
        meta_lr: float = setting(
            1.0, "share of the way that the outer loop goes; falls to 0", positive, after_training=True
        )

    def __init__(self, options: Options) -> None:
        self._options = options

    def init(self, supernet: SuperNet, generator: torch.Generator) -> State:
        """Only the super-net's own parameters are learnt."""
        return {f"params/{name}": value for name, value in supernet.init(generator).items()}

    def gradient(
        self, supernet: SuperNet, state: State, episodes: Episodes, arch: Architecture, progress: Progress
    ) -> tuple[Gradient, Scores]:
        """Descend on all of a task's images, and return the way back: theta - theta', summed over tasks."""
        import torch

        x = torch.cat([episodes.support_x, episodes.query_x], 1)
        y = torch.cat([episodes.support_y, episodes.query_y], 1)
        leaves = {name: value.detach().requires_grad_() for name, value in _params(state, supernet).items()}
        shared = supernet.share(leaves, arch)  # the sub-network's part of each tensor
        weights = [name for name in shared if supernet.roles[name] == "weight"]
        adapted = self._descend(supernet, shared, x, y, arch)
        way = [(shared[name].detach() - adapted[name]).sum(0) for name in weights]
        # The way is in the sub-network's shapes; autograd through `share` puts it into its place in the super-net.
        found = torch.autograd.grad([shared[name] for name in weights], list(leaves.values()), way, allow_unused=True)
        gradient = {f"params/{name}": g for name, g in zip(leaves, found, strict=True) if g is not None}
        return gradient, self.score(supernet, state, episodes, arch)

    def update(self, state: State, gradient: Gradient, n_tasks: int, progress: Progress) -> None:
        """Go a part of the mean way: theta + epsilon (theta' - theta)."""
        left = 1 - progress.iteration / progress.total
        for name, summed in gradient.items():
            state[name] -= self._options.meta_lr * progress.rate_factor * left / n_tasks * summed

    def adapt(self, supernet: SuperNet, state: State, episodes: Episodes, arch: Architecture) -> Params:
        """Normalisations are not adapted: they are the same for every task."""
        shared = supernet.share(_params(state, supernet), arch)
        same = {name: value.detach().expand(len(episodes), *value.shape) for name, value in shared.items()}
        return same | self._descend(supernet, shared, episodes.support_x, episodes.support_y, arch)

    def with_steps(self, steps: int) -> Reptile:
        """Take other numbers of steps: the state has nothing for single steps."""
        return Reptile(evolve(self._options, inner_steps=steps))

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
        with torch.no_grad():
            return task_scores(supernet.forward_tasks(self.adapt(supernet, state, episodes, arch), x, arch), y)

    def _descend(self, supernet: SuperNet, shared: Params, x: Tensor, y: Tensor, arch: Architecture) -> Params:
        """Return each task's weights after the inner loop, with a leading task dimension."""
        import torch

        steps, detached = self._options.inner_steps, {name: value.detach() for name, value in shared.items()}
        weights = {name: value for name, value in detached.items() if supernet.roles[name] == "weight"}
        norms: Sequence[Params] = [{k: v for k, v in detached.items() if k not in weights}] * steps
        rates = {name: torch.full((steps,), self._options.inner_lr, device=x.device) for name in weights}
        return supernet.descend(weights, norms, rates, x, y, arch)


def _params(state: State, supernet: SuperNet) -> Params:
    return {name: state[f"params/{name}"] for name in supernet.roles}
