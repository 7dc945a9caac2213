"""Which architectures satisfy every limit, how to draw them, and whether there are any."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cached_property, lru_cache
from itertools import islice, product

import numpy as np

from hnas.architecture import Architecture
from hnas.cost import Cost
from hnas.errors import InfeasibleError
from hnas.space import SearchSpace
from hnas_app.costs.limits import Limit

_TRIES = 50  # rejected samples before one is repaired: 1 ms at 20 µs a look-up
_REPAIRS = 5  # repairs that end in a local minimum before the known feasible architecture is taken
_RANDOM_STARTS = 4
_GROUPS = 64  # combinations of the options that other choices need; VGG9 has four
_MEMO = 2**16

Key = Callable[[Architecture], tuple[float, ...]]
"""The value that a descent minimises."""
Moves = Callable[[Architecture], Iterable[Architecture]]


class Feasibility:
    """Answers for one space, its limits and its cost model. ``cost`` is a table look-up, some 20 µs."""

    def __init__(self, space: SearchSpace, limits: Sequence[Limit], cost: Callable[[Architecture], Cost]) -> None:
        self._space = space
        self.limits = tuple(limits)
        self._cost = lru_cache(_MEMO)(cost)
        self._pressure = lru_cache(_MEMO)(self._violation)

    def feasible(self, arch: Architecture) -> bool:
        """Return whether ``arch`` satisfies every limit; remembered, so asking again costs a microsecond."""
        return self._pressure(arch)[0] <= 1

    def violation(self, arch: Architecture) -> tuple[float, ...]:
        """Return the worst cost over its limit, at most 1 if all hold, and the sum of all; remembered, too."""
        return self._pressure(arch)

    def sample(self, generator: np.random.Generator) -> Architecture:
        """Draw a feasible architecture: uniform by rejection while that works, else a random one shrunk until it fits.

        Raises `InfeasibleError` if there is none.
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

    def repair(self, arch: Architecture, generator: np.random.Generator) -> Architecture:
        """Return ``arch`` if it is feasible, else one near to it that is. Raises `InfeasibleError` if there is none."""
        if self.feasible(arch):
            return arch
        return self._shrink(arch, generator) or self.ensure_reachable()

    def smallest(self, metric: str) -> tuple[Architecture, float]:
        """Return the cheapest architecture in one metric and its cost, in the metric's unit.

        Coordinate descent from several starts for each depth (or whatever other choices need), then by two choices at
        once. Exact unless a minimum takes three changes at once to leave (tested against enumeration).
        """
        best = self._minimise(lambda a: (self._cost(a)[metric],))
        return best, self._cost(best)[metric]

    def ensure_reachable(self) -> Architecture:
        """Return a feasible architecture. Raises `InfeasibleError`, naming the costs in reach, without one."""
        return self._anchor

    def _violation(self, arch: Architecture) -> tuple[float, ...]:
        """Return the worst cost over its limit, then the sum of all: the second leads off the first's plateaus."""
        cost = self._cost(arch) if self.limits else None
        ratios = [limit.ratio(cost) for limit in self.limits] if cost else [0.0]
        return max(ratios), sum(ratios)

    def _shrink(self, arch: Architecture, generator: np.random.Generator) -> Architecture | None:
        """Move to the neighbour with the lowest violation until all limits hold; ``None`` in a local minimum.

        If several neighbours satisfy all limits, a random one is taken, so that samples do not gather at the cheapest.
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

    def _starts(self) -> list[list[Architecture]]:
        """Return the starts of descents, in groups with the same options of the choices that others need (depth).

        In each group: all first options, all last ones, and random ones.
        """
        space, generator = self._space, np.random.default_rng(0)
        first = (0,) * len(space.choices)
        last = tuple(len(c.options) - 1 for c in space.choices)
        bases = [first, last, *(space.sample(generator).genes for _ in range(_RANDOM_STARTS))]
        options = [range(len(space.choices[i].options)) for i in self._parents]
        groups = []
        for picked in islice(product(*options), _GROUPS):
            parents = dict(zip(self._parents, picked, strict=True))
            genes = [tuple(parents.get(i, g) for i, g in enumerate(base)) for base in bases]
            groups.append(list(dict.fromkeys(space.canonical(Architecture(space.name, g)) for g in genes)))
        return groups

    @cached_property
    def _parents(self) -> list[int]:
        needed = {c.needs[0] for c in self._space.choices if c.needs}
        return [i for i, c in enumerate(self._space.choices) if c.name in needed]

    def _minimise(self, key: Key, further: Sequence[Architecture] = ()) -> Architecture:
        """Descend within each group first: else all descents would end at the depth that is cheap at their start."""
        found = list(further)
        for group in self._starts():
            best = min((self._descend(start, key, self._siblings) for start in group), key=key)
            found.append(self._descend_by_pairs(best, key, self._siblings))
        return self._descend_by_pairs(min(found, key=key), key, self._space.neighbours)

    def _descend(self, arch: Architecture, key: Key, moves: Moves) -> Architecture:
        while True:
            step = min(moves(arch), key=key, default=arch)
            if not key(step) < key(arch):
                return arch
            arch = step

    def _descend_by_pairs(self, arch: Architecture, key: Key, moves: Moves) -> Architecture:
        """Descend, and go on by two moves at once when no single one helps: kernel and width that fit each other."""
        while True:
            arch = self._descend(arch, key, moves)
            twice = {two for one in moves(arch) for two in moves(one)}
            step = min(sorted(twice), key=key, default=arch)
            if not key(step) < key(arch):
                return arch
            arch = step

    def _siblings(self, arch: Architecture) -> Iterator[Architecture]:
        """Yield the neighbours that differ in no choice that others need."""
        for n in self._space.neighbours(arch):
            if all(n.genes[i] == arch.genes[i] for i in self._parents):
                yield n

    @cached_property
    def _anchor(self) -> Architecture:
        for group in self._starts():  # usually the first one is enough
            for start in group:
                arch = self._descend(start, self._pressure, self._space.neighbours)
                if self.feasible(arch):
                    return arch
        cheapest = [(limit, *self.smallest(limit.metric.name)) for limit in self.limits]
        nearest = self._minimise(self._pressure, [arch for _, arch, _ in cheapest])
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
            hint=f"raise the limit to at least {' and '.join(_enough(value, limit) for limit, _, value in alone)}",
        )

    def _unreachable_together(self, nearest: Architecture) -> InfeasibleError:
        cost = self._cost(nearest)
        seen = {limit: cost[limit.metric.name] for limit in self.limits}
        costs = ", ".join(f"{limit.metric.name} {_shown(value, limit)}" for limit, value in seen.items())
        enough = " and ".join(limit.text if v <= limit.value else _enough(v, limit) for limit, v in seen.items())
        return InfeasibleError(
            f"no architecture of {self._space.name} satisfies {' and '.join(map(str, self.limits))} together, though "
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
