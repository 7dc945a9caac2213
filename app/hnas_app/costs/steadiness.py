"""Which costs of a noisy device cannot be relied on: its rounds disagree, so that their median is chance."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from statistics import median

from hnas.cost import CostTable, LayerCosts, Rounds
from hnas.layer import Layer

FACTOR = 3
"""Rounds disagree if those next to the median are further apart than this many times the tolerance of the anchor."""
SHARE = 0.1
"""A network's cost is unsteady if more than this part of it is."""


def unsteady_layers(
    rows: Mapping[str, Mapping[int, LayerCosts]], metric: str, rounds: Rounds, kept: Collection[str] = ()
) -> list[str]:
    """Return the keys of the rows whose rounds disagree; of a single round, those of blocks ``kept`` though unsteady.

    It is seen from the stored rounds, so it is known again when another run reads them. One bad round of three does
    not count, since the median takes it off.
    """
    found = []
    for key, by_round in rows.items():
        values = sorted(costs[metric].median for costs in by_round.values())
        at = len(values) // 2
        # What confirms the median: its nearer neighbour, or of an even count the two values that it is the mean of.
        gaps = [values[i + 1] - values[i] for i in (at - 1, at)[: 1 + len(values) % 2] if 0 <= i < len(values) - 1]
        unsteady = min(gaps) > FACTOR * rounds.anchor_tolerance * median(values) if gaps else key in kept
        if unsteady:
            found.append(key)
    return sorted(found)


def is_unsteady(table: CostTable, layers: Sequence[Layer]) -> bool:
    """Return whether the cost of a network, in the device's first metric, rests on unsteady layers."""
    doubtful = set(table.check.get("rounds", {}).get("unsteady_layers", ()))
    if not doubtful:
        return False
    name = table.info.metrics[0].name
    costs = [(layer.key, table.rows[layer.key][name].median) for layer in layers if layer.key in table.rows]
    return sum(cost for key, cost in costs if key in doubtful) > SHARE * sum(cost for _, cost in costs)
