"""Which architectures satisfy every limit, how to draw them, and whether there are any."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import lru_cache

import numpy as np

from hnas.architecture import Architecture
from hnas.constraint import Limit
from hnas.cost import Cost
from hnas.errors import InfeasibleError
from hnas.space import SearchSpace

_TRIES = 50  # rejected samples before one is repaired: 1 ms at 20 µs a look-up
_REPAIRS = 5  # repairs that end in a local minimum before the known feasible architecture is taken
_RANDOM_STARTS = 4
_MEMO = 2**16

Key = Callable[[Architecture], tuple[float, ...]]
"""What a descent makes smaller."""


class Feasibility:
    """Answers for one space, its limits and its cost model. ``cost`` is a table look-up, some 20 µs."""

    def __init__(self, space: SearchSpace, limits: Sequence[Limit], cost: Callable[[Architecture], Cost]) -> None:
        self._space = space
        self._limits = tuple(limits)
        self._cost = lru_cache(_MEMO)(cost)
        self._pressure = lru_cache(_MEMO)(self._violation)
        self._anchor: Architecture | None = None

    def feasible(self, arch: Architecture) -> bool:
        """Tell whether ``arch`` satisfies every limit; remembered, so asking again costs a microsecond."""
        return self._pressure(arch)[0] <= 1

    def sample(self, generator: np.random.Generator) -> Architecture:
        """Draw a feasible architecture: uniform by rejection while that works, else a random one shrunk until it fits.

        Raises `InfeasibleError` where there is none.
        """
        for _ in range(_REPAIRS):
            for _ in range(_TRIES):
                arch = self._space.sample(generator)
                if self.feasible(arch):
                    return arch
            repaired = self._shrink(arch, generator)
            if repaired is not None:
                return repaired
        return self.ensure_reachable()

    def smallest(self, metric: str) -> tuple[Architecture, float]:
        """Return the cheapest architecture in one metric and its cost, in the metric's unit.

        Coordinate descent from several starts, then moves of two choices at once from the best of them. Exact where a
        cost has no deeper local minima than those (tested against enumeration).
        """
        best = self._minimise(lambda a: (self._cost(a)[metric],), self._starts())
        return best, self._cost(best)[metric]

    def ensure_reachable(self) -> Architecture:
        """Return a feasible architecture. Raises `InfeasibleError`, naming what the space can reach, without one."""
        if self._anchor is None:
            self._anchor = self._find_feasible()
        return self._anchor

    # ---------------------------------------------------------------- inside

    def _violation(self, arch: Architecture) -> tuple[float, ...]:
        """Return the worst cost over its limit, then the sum of all: the second leads off the first's plateaus."""
        cost = self._cost(arch) if self._limits else None
        ratios = [limit.ratio(cost) for limit in self._limits] if cost else [0.0]
        return max(ratios), sum(ratios)

    def _shrink(self, arch: Architecture, generator: np.random.Generator) -> Architecture | None:
        """Move to the neighbour with the lowest violation until all limits hold; ``None`` in a local minimum.

        Among several neighbours that satisfy all limits any is taken, so that samples do not gather at the cheapest.
        """
        while True:
            steps = [(self._pressure(n), n) for n in self._space.neighbours(arch)]
            fitting = [n for pressure, n in steps if pressure[0] <= 1]
            if fitting:
                return fitting[int(generator.integers(len(fitting)))]
            lowest = min((pressure for pressure, _ in steps), default=(math.inf,))
            if not lowest < self._pressure(arch):
                return None
            ties = [n for pressure, n in steps if pressure == lowest]
            arch = ties[int(generator.integers(len(ties)))]

    def _starts(self) -> list[Architecture]:
        """Return where descents begin: first and last options and random ones, under each option of each parent."""
        space, generator = self._space, np.random.default_rng(0)
        first = Architecture(space.name, (0,) * len(space.choices))
        last = Architecture(space.name, tuple(len(c.options) - 1 for c in space.choices))
        bases = [first, last, *(space.sample(generator) for _ in range(_RANDOM_STARTS))]
        parents = {c.needs[0] for c in space.choices if c.needs}
        starts = [space.canonical(b) for b in bases]
        for i, choice in enumerate(space.choices):
            for gene in range(len(choice.options)) if choice.name in parents else ():
                for b in (first, last):
                    starts.append(space.canonical(Architecture(space.name, (*b.genes[:i], gene, *b.genes[i + 1 :]))))
        return list(dict.fromkeys(starts))

    def _minimise(self, key: Key, starts: Iterable[Architecture]) -> Architecture:
        best = min((self._descend(start, key) for start in starts), key=key)
        while True:  # moves of two choices leave minima such as a deep network that needs another kernel to be cheap
            further = min(self._pairs(best), key=key, default=best)
            if not key(further) < key(best):
                return best
            best = self._descend(further, key)

    def _descend(self, arch: Architecture, key: Key) -> Architecture:
        while True:
            step = min(self._space.neighbours(arch), key=key, default=arch)
            if not key(step) < key(arch):
                return arch
            arch = step

    def _pairs(self, arch: Architecture) -> Iterator[Architecture]:
        seen = {arch}
        for one in self._space.neighbours(arch):
            for two in self._space.neighbours(one):
                if two not in seen:
                    seen.add(two)
                    yield two

    def _find_feasible(self) -> Architecture:
        starts = self._starts()
        for start in starts:  # usually enough, and much faster than proving a minimum
            arch = self._descend(start, self._pressure)
            if self.feasible(arch):
                return arch
        cheapest = [(limit, *self.smallest(limit.metric.name)) for limit in self._limits]
        nearest = self._minimise(self._pressure, [*starts, *(arch for _, arch, _ in cheapest)])
        if self.feasible(nearest):
            return nearest
        alone = [(limit, arch, value) for limit, arch, value in cheapest if value > limit.value]
        raise self._unreachable(alone) if alone else self._unreachable_together(nearest)

    def _unreachable(self, alone: Sequence[tuple[Limit, Architecture, float]]) -> InfeasibleError:
        told = [
            f"no architecture of {self._space.name} satisfies {limit}: the smallest {limit.metric.name} that the space "
            f"can reach is {_shown(value, limit)}, by {self._readable(arch)}"
            for limit, arch, value in alone
        ]
        return InfeasibleError(
            "\n".join(told),
            hint=f"raise the limit, to {' and '.join(_enough(value, limit) for limit, _, value in alone)} at least",
        )

    def _unreachable_together(self, nearest: Architecture) -> InfeasibleError:
        cost = self._cost(nearest)
        seen = {limit: cost[limit.metric.name] for limit in self._limits}
        costs = ", ".join(f"{limit.metric.name} {_shown(value, limit)}" for limit, value in seen.items())
        enough = " and ".join(limit.text if v <= limit.value else _enough(v, limit) for limit, v in seen.items())
        return InfeasibleError(
            f"no architecture of {self._space.name} satisfies {' and '.join(map(str, self._limits))} together, though "
            f"each can be reached alone: the nearest has {costs}, by {self._readable(nearest)}",
            hint=f"raise a limit; {enough} can be met",
        )

    def _readable(self, arch: Architecture) -> str:
        return ", ".join(f"{name}={option}" for name, option in self._space.options(arch).items())


def _shown(value: float, limit: Limit) -> str:
    number = f"{value:,.0f}" if value == round(value) else f"{value:.6g}"
    return f"{number} {limit.metric.unit}".rstrip()


def _enough(value: float, limit: Limit) -> str:
    """Return a constraint that ``value`` satisfies: rounded up, since a rounded-down limit would be refused again."""
    if value == round(value):
        number = f"{value:.0f}"
    else:
        scale = 10.0 ** (math.floor(math.log10(value)) - 3)
        number = f"{math.ceil(value / scale) * scale:.6g}"
    return f"{limit.metric.name}<={number}{limit.metric.unit}"
