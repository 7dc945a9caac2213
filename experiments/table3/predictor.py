"""The latency predictor of Once-for-All (Cai et al., ICLR 2020): a one-hot encoding of the architecture, then an MLP.

As in the authors' code (`ofa/nas/accuracy_predictor`): three hidden layers of 400 with ReLU, a last layer without bias,
and the mean of the targets as its base; choices of layers that an architecture does not have are zeros. How their
predictors are trained is not in that code; here by Adam on the squared error, with a fifth of the samples held out to
pick the best moment.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import torch
from attrs import frozen
from torch import Tensor, nn

from hnas import Architecture, SearchSpace

HIDDEN, DEPTH = 400, 3


@frozen(kw_only=True)
class Training:
    """How a predictor is trained. ``steps`` and ``epochs`` are lower bounds: the longer one holds."""

    steps: int = 2000
    epochs: int = 200
    batch: int = 64
    rate: float = 1e-3
    decay: float = 1e-4
    held_out: float = 0.2
    judge_every: int = 20


def encode(space: SearchSpace, arch: Architecture) -> np.ndarray:
    """Return one number for each option of each choice: 1 where it was taken, all 0 where the choice is not active."""
    parts = []
    for choice, gene, active in zip(space.choices, arch.genes, space.active(arch), strict=True):
        part = np.zeros(len(choice.options), dtype=np.float32)
        part[gene] = float(active)
        parts.append(part)
    return np.concatenate(parts)


@frozen
class Predictor:
    """A trained network; latencies are predicted in the unit of those that it was trained on."""

    space: SearchSpace
    net: nn.Module
    base: float

    def __call__(self, archs: Sequence[Architecture]) -> list[float]:
        x = torch.from_numpy(np.stack([encode(self.space, arch) for arch in archs]))
        with torch.no_grad():
            return [float(v) for v in self.base * (1 + self.net(x)[:, 0])]


def fit(
    space: SearchSpace,
    archs: Sequence[Architecture],
    latencies: Sequence[float],
    generator: torch.Generator,
    training: Training | None = None,
) -> Predictor:
    """Train on measured networks, at least five. All randomness is from ``generator``.

    The loss is on the latency over the mean of the training latencies, less 1.
    """
    if len(archs) < 5:
        raise ValueError(f"a predictor needs five networks at least, one of them held out; got {len(archs)}")
    plan = training or Training()
    x = torch.from_numpy(np.stack([encode(space, arch) for arch in archs]))
    base = float(np.mean(latencies))
    y = torch.tensor(latencies, dtype=torch.float32)[:, None] / base - 1
    kept = len(archs) - max(1, int(plan.held_out * len(archs)))
    order = torch.randperm(len(archs), generator=generator)
    fitted, judged = order[:kept], order[kept:]
    net = _mlp(x.shape[1], generator)
    steps = max(plan.steps, math.ceil(plan.epochs * kept / plan.batch))
    optimiser = torch.optim.Adam(net.parameters(), plan.rate, weight_decay=plan.decay)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
    best, best_loss = _copy(net), math.inf
    for step in range(steps):
        picked = fitted[torch.randint(kept, (min(plan.batch, kept),), generator=generator)]
        loss = nn.functional.mse_loss(net(x[picked]), y[picked])
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
        if (step + 1) % plan.judge_every == 0 or step + 1 == steps:
            with torch.no_grad():
                held_out = float(nn.functional.mse_loss(net(x[judged]), y[judged]))
            if held_out < best_loss:
                best, best_loss = _copy(net), held_out
    net.load_state_dict(best)
    return Predictor(space, net, base)


def load() -> None:
    """Make the first optimiser of this process: torch then loads its compiler, seconds that are no training's."""
    torch.optim.Adam([torch.zeros(1, requires_grad=True)]).step()


def _mlp(inputs: int, generator: torch.Generator) -> nn.Module:
    """Return the network; weights are drawn as `nn.Linear` draws them, but not from torch's global generator."""
    sizes = [inputs, *[HIDDEN] * DEPTH]
    parts: list[nn.Module] = []
    for fan_in, fan_out in pairwise(sizes):
        parts += [nn.Linear(fan_in, fan_out, device="meta"), nn.ReLU()]
    parts.append(nn.Linear(HIDDEN, 1, bias=False, device="meta"))
    net = nn.Sequential(*parts).to_empty(device="cpu")
    for part in net:
        if isinstance(part, nn.Linear):
            for parameter in part.parameters():
                bound = part.in_features**-0.5
                nn.init.uniform_(parameter, -bound, bound, generator=generator)
    return net


def _copy(net: nn.Module) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in net.state_dict().items()}
