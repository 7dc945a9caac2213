"""Estimates of every candidate's loss from all of its scores, on whichever tasks they were."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from hnas.architecture import Architecture
from hnas_app.search.truncation import TaskScore

if TYPE_CHECKING:
    import numpy as np

SWEEPS = 30
"""Of the alternating least squares; they converge by a factor of at least 2 each."""


def ranking(known: Mapping[tuple[Architecture, int], TaskScore]) -> list[Architecture]:
    """Return the architectures by their estimated loss, lowest first; those with an infinite loss are left out.

    A loss is modelled as the sum of what the architecture and what the task contribute, and noise. So candidates that
    were scored on different tasks can be compared. An architecture's estimate is drawn towards the mean the more, the
    fewer tasks it was scored on: among hundreds of candidates, the lowest mean over a few tasks is luck.
    """
    import numpy as np

    infinite = {arch for (arch, _), score in known.items() if not np.isfinite(score.loss)}
    pairs = sorted((arch, task) for arch, task in known if arch not in infinite)
    if not pairs:
        return []
    archs = list(dict.fromkeys(arch for arch, _ in pairs))
    place, tasks = {arch: i for i, arch in enumerate(archs)}, sorted({task for _, task in pairs})
    number = {task: i for i, task in enumerate(tasks)}
    a = np.array([place[arch] for arch, _ in pairs])
    t = np.array([number[task] for _, task in pairs])
    losses = np.array([known[pair].loss for pair in pairs])
    own, noise = _fitted(a, t, losses)
    n = np.bincount(a)
    spread = max(float(np.var(own) - np.mean(noise / n)), 1e-12)  # of true means: what noise alone does not explain
    estimates = own * spread / (spread + noise / n)
    return [archs[i] for i in np.lexsort((np.arange(len(archs)), estimates))]


def _fitted(a: np.ndarray, t: np.ndarray, losses: np.ndarray) -> tuple[np.ndarray, float]:
    """Return each architecture's part of the loss, 0 on average, and the variance of the noise."""
    import numpy as np

    def means(index: np.ndarray, values: np.ndarray) -> np.ndarray:
        found: np.ndarray = np.bincount(index, values) / np.bincount(index)
        return found

    own = np.zeros(a.max() + 1)
    for _ in range(SWEEPS):
        hard = means(t, losses - own[a])
        own = means(a, losses - hard[t])
        own -= own.mean()
    rest = losses - own[a] - hard[t]
    free = max(1, len(losses) - len(own) - len(hard) + 1)
    return own, float((rest**2).sum()) / free
