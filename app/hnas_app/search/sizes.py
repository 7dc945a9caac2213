"""How many networks a space has: as papers print it, and without those that are the same."""

from __future__ import annotations

import math
from itertools import product

from hnas.space import SearchSpace


def printed_size(space: SearchSpace) -> int:
    """Return the product of all options, the count that papers print."""
    return math.prod(len(c.options) for c in space.choices)


def true_size(space: SearchSpace) -> int:
    """Return the number of distinct networks: inactive choices counted once.

    Conditions are one level deep: a choice that others need must itself be unconditional.
    """
    parents = [c for c in space.choices if any(o.needs and o.needs[0] == c.name for o in space.choices)]
    total = 0
    for picked in product(*(c.options for c in parents)):
        value = {c.name: o for c, o in zip(parents, picked, strict=True)}
        total += math.prod(
            len(c.options)
            for c in space.choices
            if c.name not in value and (c.needs is None or value[c.needs[0]] in c.needs[1])
        )
    return total
