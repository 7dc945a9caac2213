"""A space, a meta-learner that proposes an architecture for each task, and a search among these, for workers to import.

The learner is T-NAS in small (Lian et al., ICLR 2020): weights and architecture weights adapt together in the inner
loop, and a task's architecture is decoded from its adapted ones.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import torch
from attrs import frozen
from torch import Tensor
from torch.nn.functional import cross_entropy

from hnas import (
    Architecture,
    Ask,
    ConfigError,
    Episodes,
    MetaLearner,
    Progress,
    Scored,
    Scores,
    SearchProblem,
    SearchSpace,
    SearchStrategy,
    SuperNet,
)
from hnas.learner import Gradient, State
from hnas.settings import positive, setting
from hnas.supernet import Params
from hnas.testing import TinySpace


class MixedSpace(TinySpace):
    """Its super-net has a relaxed network."""

    name = "mixed"

    def __init__(self) -> None:
        super().__init__(depth=2, widths=(2, 4, 8), norm=True, relaxed=True)

    def references(self) -> Mapping[str, Architecture]:
        return {"whole": self.largest()}


class Decoding(MetaLearner):
    """First-order MAML of the relaxed network and of the sampled architecture, with plain gradient descent outside."""

    @frozen(kw_only=True)
    class Options:
        inner_steps: int = setting(2, "gradient steps of the inner loop", positive)
        inner_lr: float = setting(0.1, "its learning rate for weights", positive)
        arch_lr: float = setting(3.0, "its learning rate for architecture weights", positive)
        meta_lr: float = setting(0.3, "learning rate of the outer loop", positive, after_training=True)

    def __init__(self, options: Options) -> None:
        self._options = options

    def init(self, supernet: SuperNet, generator: torch.Generator) -> State:
        if supernet.relaxed is None:
            raise ConfigError(f"{type(supernet).__name__} has no relaxed network", hint="choose a space that has one")
        return {f"params/{name}": value for name, value in supernet.init(generator).items()}

    def gradient(
        self, supernet: SuperNet, state: State, episodes: Episodes, arch: Architecture, progress: Progress
    ) -> tuple[Gradient, Scores]:
        found: Gradient = {}
        for network in (supernet.relaxed, arch):
            assert network is not None
            leaves = {name: state[f"params/{name}"].detach().requires_grad_() for name in supernet.roles}
            shared = supernet.share(leaves, network)
            ends = {k: v.requires_grad_() for k, v in self.adapt(supernet, state, episodes, network).items()}
            loss, accuracy = _scores(supernet.forward_tasks(ends, episodes.query_x, network), episodes.query_y)
            way = [g.sum(0) for g in torch.autograd.grad(loss.sum(), list(ends.values()))]
            whole = torch.autograd.grad([shared[k] for k in ends], list(leaves.values()), way, allow_unused=True)
            for name, g in zip(leaves, whole, strict=True):
                if g is not None:
                    found[f"params/{name}"] = found.get(f"params/{name}", 0) + g
        return found, Scores(loss=loss.detach(), accuracy=accuracy)

    def update(self, state: State, gradient: Gradient, n_tasks: int, progress: Progress) -> None:
        for name, summed in gradient.items():
            state[name] -= self._options.meta_lr * progress.rate_factor / n_tasks * summed

    def adapt(self, supernet: SuperNet, state: State, episodes: Episodes, arch: Architecture) -> Params:
        o, roles = self._options, supernet.roles
        shared = supernet.share({name: state[f"params/{name}"].detach() for name in roles}, arch)
        norm = {k: v for k, v in shared.items() if roles[k] == "norm"}
        weights = {k: v for k, v in shared.items() if k not in norm}
        rates = {
            k: torch.full((o.inner_steps,), o.arch_lr if roles[k] == "arch" else o.inner_lr).to(v)
            for k, v in weights.items()
        }
        x, y = episodes.support_x, episodes.support_y
        adapted = supernet.descend(weights, [norm] * o.inner_steps, rates, x, y, arch)
        return adapted | {k: v.expand(len(x), *v.shape).clone() for k, v in norm.items()}

    def score(
        self,
        supernet: SuperNet,
        state: State,
        episodes: Episodes,
        arch: Architecture,
        *,
        on: Literal["query", "support"] = "query",
    ) -> Scores:
        x, y = (episodes.query_x, episodes.query_y) if on == "query" else (episodes.support_x, episodes.support_y)
        with torch.no_grad():
            loss, accuracy = _scores(supernet.forward_tasks(self.adapt(supernet, state, episodes, arch), x, arch), y)
        return Scores(loss=loss.where(loss.isfinite(), torch.inf), accuracy=accuracy)

    def propose(self, space: SearchSpace, supernet: SuperNet, state: State, episodes: Episodes) -> list[Architecture]:
        assert supernet.relaxed is not None
        return supernet.decode(self.adapt(supernet, state, episodes, supernet.relaxed))


def _scores(logits: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    losses = cross_entropy(logits.flatten(0, 1), y.flatten(), reduction="none").view(y.shape)
    return losses.mean(1), (logits.argmax(-1) == y).float().mean(1)


class AmongProposals(SearchStrategy):
    """Scores what the learner proposes for a few tasks, then the best beside what it proposes for further ones."""

    needs_proposals = True

    @frozen(kw_only=True)
    class Options:
        tasks: int = setting(6, "tasks that each iteration takes proposals of", positive)
        iterations: int = setting(2, "iterations", positive)

    def __init__(self, options: Options) -> None:
        self._options = options

    @property
    def iterations(self) -> int:
        return self._options.iterations

    def start(self, problem: SearchProblem) -> None:
        self._problem, self._asked, self._best = problem, 0, list[Architecture]()

    def ask(self) -> Ask | None:
        if self._asked == self.iterations:
            return None
        assert self._problem.proposals is not None
        self._asked += 1
        fresh = self._problem.proposals(self._asked * self._options.tasks)[-self._options.tasks :]
        return Ask(architectures=tuple(dict.fromkeys([*self._best, *fresh])))

    def tell(self, scored: Sequence[Scored]) -> None:
        self._best = [min(scored, key=lambda s: (s.bound, s.loss)).arch]
