"""Meta-gradients of the other learners: each beside itself in plain torch and beside MAML++, in one run.

Those by gradient take 5 steps in second order, without the parts of MAML++ but learnt rates; MAML++ has all its parts.
Those that compare features (`plain_rules`) have no steps. The plain versions share no code with the project's, but the
network of `plain_loop`.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from attrs import frozen
from configs import INNER_STEPS, Config
from measuring import Timing, interleave
from peers import easyfsl_prototypical, missing
from plain_loop import Start, features, network, tasks
from plain_rules import RULES
from torch import Tensor

from hnas import Architecture, Episodes, MetaLearner, Progress, Registry
from hnas.learner import State
from hnas_plugins.meta_learners.alfa import alfa
from hnas_plugins.meta_learners.anil import anil
from hnas_plugins.meta_learners.maml import MAML
from hnas_plugins.meta_learners.meta_sgd import meta_sgd
from hnas_plugins.meta_learners.options import (
    ALFAOptions,
    ANILOptions,
    L2FOptions,
    MAMLPlusPlusOptions,
    MetaSGDOptions,
)

PROGRESS = Progress(iteration=50 * 500, iterations_per_epoch=500, epochs=100)
"""The second half of a training: MAML++ in second order, Meta-Baseline in its second stage."""
LIMIT = 1e-6
LEARNERS: dict[str, tuple[Callable[..., MAML], Callable[..., Any]]] = {
    "meta-sgd": (meta_sgd, MetaSGDOptions),
    "alfa": (alfa, ALFAOptions),
    "l2f": (alfa, L2FOptions),
    "alfa+l2f": (alfa, partial(ALFAOptions, l2f=True)),
    "anil": (anil, ANILOptions),
}
NAMES = (*LEARNERS, *RULES)


@frozen(kw_only=True)
class Plain:
    """A learner written out: leaves of one sub-network, and those that the learner has beside the weights."""

    name: str
    start: Start
    extra: dict[str, Tensor]

    @classmethod
    def of(cls, name: str, config: Config, state: State, arch: Architecture) -> Plain:
        """Cut the leaves out of a super-net's state, as `Start` does."""
        plain = {k: v[None] if k.startswith("params/norm") else v for k, v in state.items()}
        start = Start.of(config, plain | {k: torch.zeros(INNER_STEPS) for k in _rates(state, "lslr/")}, arch)
        extra = {k: v for k, v in state.items() if k.startswith(("decay/", "alfa/", "l2f/")) and _belongs(k, start)}
        channels = start.weights[-2].shape[1]
        extra |= {k: v for k, v in state.items() if k.startswith("own/")}
        if name == "siamese":
            extra["own/weight"] = extra["own/weight"][:channels]
        if name == "relation":
            extra["own/conv1.weight"] = extra["own/conv1.weight"][:, :, :channels]
        if name == "meta-sgd":
            swapped = {f"params/{k}": state[f"rates/{k}"] for k in start.names}
            rates = Start.of(config, plain | swapped | {k: torch.zeros(1) for k in _rates(state, "lslr/")}, arch)
            extra = {f"rates/{k}": w for k, w in zip(start.names, rates.weights, strict=True)}
        return cls(name=name, start=start, extra={k: v.detach().clone().requires_grad_() for k, v in extra.items()})

    @property
    def leaves(self) -> dict[str, Tensor]:
        return self.start.leaves | self.extra

    def gradient(self, episodes: Episodes) -> dict[str, Tensor]:
        """Return the meta-gradient, summed over tasks, by the leaves' names."""
        for leaf in self.leaves.values():
            leaf.grad = None
        own = {k.removeprefix("own/"): v for k, v in self.extra.items()}
        own["channels"] = torch.tensor(self.start.weights[-2].shape[1])
        for x, y, query_x, query_y in tasks(episodes):
            if self.name in RULES:
                both = (features(self.start, self.start.weights, 0, images) for images in (x, query_x))
                loss = RULES[self.name](own, *both, query_y, int(y.max()) + 1)
            else:
                loss = F.cross_entropy(self._adapted(x, y)(query_x), query_y)
            loss.backward()  # type: ignore[no-untyped-call]
        return {name: leaf.grad for name, leaf in self.leaves.items() if leaf.grad is not None}

    def _adapted(self, x: Tensor, y: Tensor) -> Callable[[Tensor], Tensor]:
        """Return the network after the inner loop on one task."""
        start, weights = self.start, list(self.start.weights)
        if self.name == "anil":
            inputs, head = features(start, weights, 0, x), weights[-2:]
            for step in range(INNER_STEPS):
                loss = F.cross_entropy(F.linear(inputs, head[0].flatten(1), head[1]), y)
                found = torch.autograd.grad(loss, head, create_graph=True)
                head = [w - r[step] * g for w, r, g in zip(head, start.rates[-2:], found, strict=True)]
            return lambda q: network(start, [*weights[:-2], *head], 0, q)
        if "l2f" in self.name:
            gammas = self._generated("l2f", self._gradients(weights, x, y)).sigmoid()
            weights = [gamma * w for gamma, w in zip(gammas[:, 0], weights, strict=True)]
        for step in range(INNER_STEPS):
            found = self._gradients(weights, x, y)
            if self.name == "meta-sgd":
                weights = [w - a * g for w, a, g in zip(weights, self.extra.values(), found, strict=True)]
                continue
            rates, keep = [r[step] for r in start.rates], [torch.ones(())] * len(weights)
            if "alfa" in self.name:
                factors = self._generated("alfa", weights, found)
                rates = [f * r for f, r in zip(factors[:, 0], rates, strict=True)]
                decays = [self.extra[f"decay/{k}"][step] for k in start.names]
                keep = [1 - f * d for f, d in zip(factors[:, 1], decays, strict=True)]
            weights = [b * w - r * g for b, w, r, g in zip(keep, weights, rates, found, strict=True)]
        return lambda q: network(start, weights, 0, q)

    def _gradients(self, weights: Sequence[Tensor], x: Tensor, y: Tensor) -> Sequence[Tensor]:
        return torch.autograd.grad(F.cross_entropy(network(self.start, weights, 0, x), y), weights, create_graph=True)

    def _generated(self, kind: str, *values: Sequence[Tensor]) -> Tensor:
        """Return what a small network makes of the means of tensors: (tensors, kinds of values)."""
        means = torch.stack([v[i].mean() for i in range(len(self.start.names)) for v in values])
        parts = {p: [self.extra[f"{kind}/{k}.{p}"] for k in self.start.names] for p in ("in", "out", "bias")}
        hidden = F.linear(means, torch.cat(parts["in"], 1), self.extra[f"{kind}/bias"]).relu()
        return F.linear(hidden, torch.cat(parts["out"]), torch.cat(parts["bias"])).view(-1, len(values))


def _rates(state: State, prefix: str) -> list[str]:
    """Return the names of the rates that `Start` wants and a state has not."""
    names = (prefix + k.removeprefix("params/") for k in state if k.startswith(("params/conv", "params/fc")))
    return [name for name in names if name not in state]


def _belongs(name: str, start: Start) -> bool:
    return any(name.partition("/")[2] in ("bias", k, f"{k}.in", f"{k}.out", f"{k}.bias") for k in start.names)


def _made(name: str, config: Config) -> tuple[MetaLearner, State]:
    """Return a learner and its seeded state, of which nothing is trivial."""
    learner: MetaLearner
    if name in RULES:
        learner = Registry(third_party=False).create("learner", name)
    else:
        factory, options = LEARNERS[name]
        learner = factory(options(inner_steps=INNER_STEPS, inner_lr=config.inner_lr, learned_rates=True))
    generator = torch.Generator().manual_seed(0)
    state = learner.init(config.space.supernet(config.image, config.n_way), generator)
    for key, value in state.items():
        if key.startswith(("params/norm", "params/fc.bias", "alfa/", "l2f/", "own/")):
            value += 0.1 * torch.randn(value.shape, generator=generator)
    return learner, {k: v for k, v in state.items() if not k.startswith("outer/")}


def disagreement(name: str, config: Config, arch: Architecture) -> float:
    """Return the norm of the difference of both meta-gradients over that of the plain one: one task in float64."""
    learner, state = _made(name, config)
    state = {k: v.double() for k, v in state.items()}
    e = config.episodes(1)
    episodes = Episodes(
        support_x=e.support_x.double(), support_y=e.support_y, query_x=e.query_x.double(), query_y=e.query_y
    )
    supernet = config.space.supernet(config.image, config.n_way)
    ours = learner.gradient(supernet, state, episodes, arch, PROGRESS)[0]
    for kind in ("params/", "rates/"):
        whole = {k: ours.get(f"{kind}{k}", state[f"params/{k}"]) for k in supernet.roles}
        ours |= {f"{kind}{k}": v for k, v in supernet.share(whole, arch).items()}
    plain = Plain.of(name, config, state, arch).gradient(episodes)
    ours |= {k: ours[k][tuple(map(slice, v.shape))] for k, v in plain.items() if k.startswith("own/")}
    difference = sum(float((ours[k] - v.view_as(ours[k])).square().sum()) for k, v in plain.items())
    return math.sqrt(difference / sum(float(v.square().sum()) for v in plain.values()))


def measure_learners(
    config: Config, row: str, names: Sequence[str], reps: int, n_tasks: int | None
) -> list[dict[str, Any]]:
    """Return two rows for each learner, and one for MAML++, summed over the row's architectures."""
    if unknown := set(names) - set(NAMES):
        sys.exit(f"no learner {', '.join(sorted(unknown))}; expected some of {', '.join(NAMES)}")
    count = n_tasks or (config.tasks if row == "reference" else config.random_tasks)
    supernet, episodes = config.space.supernet(config.image, config.n_way), config.episodes(count)
    options = MAMLPlusPlusOptions(inner_steps=INNER_STEPS, inner_lr=config.inner_lr, multi_step_loss=False)
    made: dict[str, tuple[MetaLearner, State]] = {name: _made(name, config) for name in names}
    plus_plus = MAML(options)
    made["maml++"] = plus_plus, plus_plus.init(supernet, torch.Generator().manual_seed(0))
    timings: dict[str, list[Timing]] = {}
    worst = dict.fromkeys(names, 0.0)
    for arch in config.networks(row):
        calls: dict[str, Callable[[], object]] = {}
        for name, (learner, state) in made.items():
            calls[name] = partial(learner.gradient, supernet, state, episodes, arch, PROGRESS)
        for name in names:
            worst[name] = max(worst[name], disagreement(name, config, arch))
            if not worst[name] < LIMIT:
                sys.exit(f"{config.name}: meta-gradients of {name} differ by {worst[name]:.2e}: no time was measured")
            plain = Plain.of(name, config, made[name][1], arch)
            calls[f"{name}, plain"] = partial(plain.gradient, episodes)
            if name == "prototypical" and missing("easyfsl.methods") is None:
                calls["prototypical, easyfsl"] = partial(easyfsl_prototypical, plain.start, episodes)
        for name, timing in interleave(calls, reps).items():
            timings.setdefault(name, []).append(timing)
    wall = {name: sum(t.wall_s for t in found) for name, found in timings.items()}
    cpu = {name: sum(t.cpu_s for t in found) for name, found in timings.items()}
    return [_row(config, row, count, name, wall, cpu, worst) for name in wall]


def _row(
    config: Config, row: str, count: int, name: str, wall: Mapping[str, float], cpu: Mapping[str, float],
    worst: Mapping[str, float],
) -> dict[str, Any]:  # fmt: skip
    plain = f"{name}, plain"
    return {
        "config": config.name,
        "row": row,
        "variant": name,
        "order": "none" if name.partition(",")[0] in RULES else "second",
        "threads": torch.get_num_threads(),
        "tasks": count,
        "wall_ms": round(1e3 * wall[name], 2),
        "cpu_ms": round(1e3 * cpu[name], 2),
        "times_maml++": round(wall[name] / wall["maml++"], 3),
        "times_maml++_cpu": round(cpu[name] / cpu["maml++"], 3),
        "ratio_over_plain": round(wall[plain] / wall[name], 3) if plain in wall else None,
        "ratio_cpu": round(cpu[plain] / cpu[name], 3) if plain in cpu else None,
        "disagreement": float(f"{worst[name]:.1e}") if name in worst else None,
    }
