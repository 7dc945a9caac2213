"""A surrogate of the super-net's scores: a small network that predicts an architecture's loss from its genes."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from hnas import Architecture, Scored, SearchSpace

if TYPE_CHECKING:
    from torch import Tensor

HIDDEN = (100, 100)
"""Widths of its hidden layers, as in PNAS's MLP; Once-for-All's has three of 400, for 16,000 scores."""
STEPS, EPOCHS, BATCH = 100, 30, 64
"""Its training: the least steps, the least uses of each score, and scores in a step."""
RATE, DECAY = 2e-2, 1e-4
"""The first learning rate of Adam, which falls to 0 along half a cosine, and the weight of the squared weights."""
DIGITS = 6
"""Decimals of a prediction, in standard deviations of the losses."""

Predict = Callable[[Sequence[Architecture]], list[float]]
"""Predicts the losses of architectures, lower is better, up to scale and shift."""


def fit(space: SearchSpace, batches: Sequence[Sequence[Scored]], generator: np.random.Generator) -> Predict | None:
    """Return a predictor trained on the batches of a search; ``None`` without two different finite losses.

    Each batch was scored on tasks of its own, so a constant is learnt for each of them beside the network. An infinite
    loss counts as the worst of its batch; a bound does not count. Options that all scored architectures have, or none,
    are no inputs: the scores say nothing about them, and architectures that differ in these alone are predicted alike.

    All randomness is from ``generator``. Arithmetic is in float64 and predictions are rounded, so that other processors
    and other numbers of threads rank alike, and a search can be resumed there.
    """
    import torch
    from torch.nn import functional as F

    from hnas.toolkit.learning import adam_state, adam_step

    rows = [(arch, loss, number) for number, batch in enumerate(batches) for arch, loss in _finite(batch)]
    losses = np.array([loss for _, loss, _ in rows])
    if not rows or losses.min() == losses.max():
        return None
    genes, batch_of = _encoded(space, [arch for arch, _, _ in rows]), torch.tensor([number for *_, number in rows])
    known, mean = genes.std(0) > 0, genes.mean(0)
    inputs = torch.from_numpy((genes - mean)[:, known])
    targets = torch.from_numpy((losses - losses.mean()) / losses.std())
    sums = torch.zeros(len(batches), dtype=torch.float64).index_add(0, batch_of, targets)
    learnt = {"batches": sums / batch_of.bincount(minlength=len(batches)).clamp(min=1)}
    for i, (fan_in, fan_out) in enumerate(pairwise((inputs.shape[1], *HIDDEN, 1))):
        bound = max(fan_in, 1) ** -0.5
        learnt[f"weight{i}"] = torch.from_numpy(generator.uniform(-bound, bound, (fan_out, fan_in)))
        learnt[f"bias{i}"] = torch.zeros(fan_out, dtype=torch.float64)
    names, last = list(learnt), len(HIDDEN)
    learnt |= adam_state(learnt, names)

    def network(x: Tensor) -> Tensor:
        for i in range(last):
            x = F.linear(x, learnt[f"weight{i}"], learnt[f"bias{i}"]).relu()
        return F.linear(x, learnt[f"weight{last}"], learnt[f"bias{last}"])[:, 0]

    steps = max(STEPS, EPOCHS * len(rows) // BATCH)
    for step in range(steps):
        picked = torch.from_numpy(generator.integers(len(rows), size=min(BATCH, len(rows))))
        leaves = [learnt[name].requires_grad_() for name in names]
        errors = network(inputs[picked]) + learnt["batches"][batch_of[picked]] - targets[picked]
        squares = torch.stack([learnt[f"weight{i}"].square().sum() for i in range(last + 1)]).sum()
        found = torch.autograd.grad(errors.square().mean() + DECAY * squares, leaves)
        rate = RATE * (1 + math.cos(math.pi * step / steps)) / 2
        adam_step(learnt, dict(zip(names, found, strict=True)), names, lr=rate, n_tasks=1)

    def predict(archs: Sequence[Architecture]) -> list[float]:
        with torch.no_grad():
            found = network(torch.from_numpy((_encoded(space, archs) - mean)[:, known]))
        return [round(float(value), DIGITS) for value in found]

    return predict


def _finite(batch: Sequence[Scored]) -> list[tuple[Architecture, float]]:
    """Return the architectures of a batch that were scored in full, with finite losses; none if all are infinite."""
    full = [s for s in batch if not s.bound]
    worst = max((s.loss for s in full if math.isfinite(s.loss)), default=None)
    return [] if worst is None else [(s.arch, min(s.loss, worst)) for s in full]


def _encoded(space: SearchSpace, archs: Sequence[Architecture]) -> np.ndarray:
    """Return a row for each architecture: 1 for an option that it takes; all 0 for a choice that is inactive in it."""
    sizes = [len(c.options) for c in space.choices]
    rows = np.zeros((len(archs), sum(sizes)))
    starts = np.cumsum([0, *sizes[:-1]])
    for row, arch in zip(rows, archs, strict=True):
        active = np.array(space.active(arch))
        row[(starts + arch.genes)[active]] = 1.0
    return rows
