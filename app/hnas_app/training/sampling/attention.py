"""The success of each option so far in a training: options of better networks are drawn more often.

A super-net's weights are updated for the networks that are drawn; later winners are worth more updates. AttentiveNAS
(Wang et al., CVPR 2021) draws several networks and trains the one with the best predicted accuracy. Here the accuracies
of the training itself are the prediction, kept for each option of each choice on its own: that costs nothing.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from hnas.architecture import Architecture
from hnas.space import SearchSpace

EVEN_SHARE = 0.2
"""Share of the draws that are uniform, so that no option is given up. Without it, networks of one and two layers were
no longer drawn after an hour, and ranked worse (docs/supernet.md)."""

SLOWEST = 0.02
"""Weight of the newest accuracy in a running mean that has seen some 50: old ones were of a worse super-net."""


class Attention:
    """Draw options by the advantage of the networks that had them over the others.

    ``advantage`` of an option: the running mean of (query accuracy of a network that has it - that of all networks). An
    option is drawn with a probability in proportion to exp(advantage / ``temperature``), each choice on its own, and
    in `EVEN_SHARE` of the draws uniformly.
    """

    def __init__(self, space: SearchSpace, temperature: float) -> None:
        self._space = space
        self._temperature = temperature
        self._advantages = [np.zeros(len(choice.options)) for choice in space.choices]
        self._seen = [np.zeros(len(choice.options), dtype=int) for choice in space.choices]
        self._mean: float | None = None

    def probabilities(self) -> list[np.ndarray]:
        """Return the probabilities of the options of each choice."""
        powers = [np.exp((a - a.max()) / self._temperature) for a in self._advantages]
        return [(1 - EVEN_SHARE) * p / p.sum() + EVEN_SHARE / len(p) for p in powers]

    def draw(self, generator: np.random.Generator) -> Architecture:
        genes = tuple(int(generator.choice(len(p), p=p)) for p in self.probabilities())
        return self._space.canonical(Architecture(self._space.name, genes))

    def learn(self, arch: Architecture, accuracy: float) -> None:
        """Record the accuracy of ``arch`` on the query sets of its share of a meta-batch."""
        if not math.isfinite(accuracy):
            return
        self._mean = accuracy if self._mean is None else self._mean + SLOWEST * (accuracy - self._mean)
        rows = zip(self._advantages, self._seen, arch.genes, self._space.active(arch), strict=True)
        for advantages, seen, gene, active in rows:
            if active:
                seen[gene] += 1
                weight = max(1 / (seen[gene] + 5), SLOWEST)  # 5: as if that many average ones had been seen before
                advantages[gene] += weight * (accuracy - self._mean - advantages[gene])

    @property
    def memory(self) -> dict[str, Any]:
        """The state for a checkpoint, as JSON: set it, and drawing goes on as if never interrupted."""
        return {
            "mean": self._mean,
            "advantages": [a.tolist() for a in self._advantages],
            "seen": [s.tolist() for s in self._seen],
        }

    @memory.setter
    def memory(self, memory: dict[str, Any]) -> None:
        self._mean = memory["mean"]
        self._advantages = [np.array(a) for a in memory["advantages"]]
        self._seen = [np.array(s, dtype=int) for s in memory["seen"]]
