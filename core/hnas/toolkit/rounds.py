"""Rounds of a noisy device: how they combine into one value, and how much they differ."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from statistics import median

import numpy as np

from hnas.cost import LayerCosts, Measurement, Rounds

ONE = Rounds(count=1, anchor_every=0)
"""How a model is asked: once, and in order."""


def combine(rounds: Mapping[int, LayerCosts]) -> dict[str, Measurement]:
    """Return each metric's median over the rounds' medians.

    Its deviation is that between the rounds, which holds drift, where there are several; else that of the only one.
    """
    first = next(iter(rounds.values()))
    if len(rounds) == 1:
        return dict(first)
    found = {}
    for metric, one in first.items():
        measured = [costs[metric] for costs in rounds.values()]
        value = Measurement.of([m.median for m in measured], one.unit)
        found[metric] = Measurement(median=value.median, mad=value.mad, n=sum(m.n for m in measured), unit=one.unit)
    return found


def typical_spread(layers: Iterable[Mapping[int, LayerCosts]], metric: str) -> float | None:
    """Return the median over layers of (largest - smallest round) / median: the noise seen by repeating.

    ``None`` where no layer has been measured twice.
    """
    spreads = []
    for rounds in layers:
        values = [costs[metric].median for costs in rounds.values()]
        if len(values) > 1 and (middle := median(values)) > 0:
            spreads.append((max(values) - min(values)) / middle)
    return median(spreads) if spreads else None


def blocks(keys: Sequence[str], rounds: Rounds, generator: np.random.Generator) -> Iterator[list[str]]:
    """Yield a round's keys in blocks, shuffled where there is more than one round: drift then hits all alike."""
    order = list(keys) if rounds == ONE else [keys[i] for i in generator.permutation(len(keys))]
    size = rounds.anchor_every or max(1, len(order))
    yield from (order[i : i + size] for i in range(0, len(order), size))
