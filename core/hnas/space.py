"""The interface SearchSpace, and what the core derives from its choices."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from itertools import product, zip_longest
from typing import TYPE_CHECKING, Any

from attrs import evolve

from hnas.architecture import Architecture, Choice, Option
from hnas.errors import ConfigError, PluginError, close_matches
from hnas.layer import Layer, Shape

if TYPE_CHECKING:
    import numpy as np

    from hnas.supernet import SuperNet

Schedule = Callable[["np.random.Generator", int, int, int], Iterable[Architecture]]
"""Draws the architectures that an iteration of meta-training trains; its tasks are shared out among them.

Called once an iteration with (generator, iteration, total iterations, ``meta_train.architectures``). It must depend on
these alone, since a resumed training draws again. Returns at most as many as there are tasks (``meta_train.tasks``).
"""


class SearchSpace(ABC):
    """A set of architectures, described by choices, that share the weights of one super-net.

    Subclasses set `name` and implement `choices`, `layers` and `supernet`; everything else follows from these.
    """

    name: str

    @property
    @abstractmethod
    def choices(self) -> Sequence[Choice]:
        """The decisions, in gene order. Read by the core and by search strategies; must not change."""

    @abstractmethod
    def layers(self, arch: Architecture, input_shape: Shape, n_way: int) -> Sequence[Layer]:
        """Return the layers of ``arch`` in the order of its forward pass, for one image of ``input_shape`` (C, H, W).

        Called by the cost model for every candidate, so it should take microseconds. Raises `ConfigError` if the input
        is too small for the network.
        """

    @abstractmethod
    def supernet(self, input_shape: Shape, n_way: int) -> SuperNet:
        """Build the network whose weights all architectures share. Called once per run, in each process."""

    def references(self) -> Mapping[str, Architecture]:
        """Return named networks to compare with; presets use the first one. Empty by default."""
        return {}

    def reference_options(self, name: str, input_shape: Shape, n_way: int) -> Mapping[str, Any]:
        """Return the space's options with which a named reference network is the one that its paper describes.

        Called by commands that show or cost a reference network. They apply these options unless the user set them.
        Empty by default.
        """
        return {}

    def default_reference(self, input_shape: Shape) -> str | None:
        """Return the name of the reference network to compare with on such images: by default the first one."""
        return next(iter(self.references()), None)

    def width_choices(self) -> Sequence[str]:
        """Return the names of the choices that scale the width of a layer, input side first. Empty by default.

        Their options are numbers. A run compares its network with the reference network scaled by them alone.
        """
        return ()

    def largest(self) -> Architecture:
        """Return the largest architecture: by default each choice's largest number, or its first option."""
        return self._extreme(max)

    def smallest(self) -> Architecture:
        """Return the smallest architecture: by default each choice's smallest number, or its first option."""
        return self._extreme(min)

    def schedules(self) -> Mapping[str, Schedule]:
        """Return the space's own schedules, for ``meta_train.sampling="space:NAME"``. Empty by default."""
        return {}

    # ---------------------------------------------------------------- derived

    def architecture(self, **options: Option) -> Architecture:
        """Make an architecture from options by choice name; choices left out take their first option."""
        if unknown := set(options) - set(self._index):
            raise ConfigError(f"{self.name} has no choice {sorted(unknown)}; it has {sorted(self._index)}")
        genes = [0] * len(self.choices)
        for name, option in options.items():
            choice = self.choices[self._index[name]]
            if option not in choice.options:
                raise ConfigError(f"{self.name}.{name}: {option!r} is not one of {list(choice.options)}")
            genes[self._index[name]] = choice.options.index(option)
        return self.canonical(Architecture(self.name, tuple(genes)))

    def options(self, arch: Architecture) -> dict[str, Option]:
        """Return the active options of ``arch`` by choice name: the readable form of its genes."""
        return {c.name: c.options[g] for c, g, a in zip(self.choices, arch.genes, self.active(arch), strict=True) if a}

    def check(self, arch: Architecture) -> None:
        """Raise `ConfigError` unless ``arch`` is a member of this space."""
        if arch.space != self.name:
            raise ConfigError(f"the architecture is of space {arch.space!r}, expected {self.name!r}")
        if len(arch.genes) != len(self.choices):
            raise ConfigError(
                f"{self.name}: {len(arch.genes)} genes, expected {len(self.choices)}",
                hint="the space's options may differ from those that the architecture was made with",
            )
        for choice, gene in zip(self.choices, arch.genes, strict=True):
            if not 0 <= gene < len(choice.options):
                raise ConfigError(f"{self.name}.{choice.name}: gene {gene} is not in 0..{len(choice.options) - 1}")

    def active(self, arch: Architecture) -> tuple[bool, ...]:
        """Return for each gene whether it changes the network."""

        def holds(needs: tuple[str, tuple[Option, ...]]) -> bool:
            parent = self._index[needs[0]]
            return self.choices[parent].options[arch.genes[parent]] in needs[1]

        return tuple(c.needs is None or holds(c.needs) for c in self.choices)

    def canonical(self, arch: Architecture) -> Architecture:
        """Return the one form of the network that ``arch`` describes: inactive genes are 0."""
        genes = tuple(g if a else 0 for g, a in zip(arch.genes, self.active(arch), strict=True))
        return arch if genes == arch.genes else Architecture(self.name, genes)

    def reference(self, name: str | None = None) -> Architecture | None:
        """Return the named reference network, or the first one (``None`` if the space names none)."""
        known = self.references()
        if name is None:
            return next(iter(known.values()), None)
        if name not in known:
            raise ConfigError(
                f"{self.name} has no reference network {name!r}.{close_matches(name, known)} It has {list(known)}"
            )
        return known[name]

    def sample(self, generator: np.random.Generator) -> Architecture:
        """Draw an architecture, each choice uniform on its own."""
        genes = tuple(int(generator.integers(len(c.options))) for c in self.choices)
        return self.canonical(Architecture(self.name, genes))

    def mutate(self, arch: Architecture, generator: np.random.Generator, count: int = 2) -> Architecture:
        """Change ``count`` randomly picked active choices to another option (Algorithm 1 of the paper: two)."""
        genes = list(arch.genes)
        movable = [i for i, a in enumerate(self.active(arch)) if a and len(self.choices[i].options) > 1]
        for i in generator.permutation(movable)[:count]:
            step = int(generator.integers(1, len(self.choices[i].options)))
            genes[i] = (genes[i] + step) % len(self.choices[i].options)
        return self.canonical(Architecture(self.name, tuple(genes)))

    def neighbours(self, arch: Architecture) -> Iterator[Architecture]:
        """Yield every architecture that differs from ``arch`` in one active choice."""
        for i, active in enumerate(self.active(arch)):
            for gene in range(len(self.choices[i].options) if active else 0):
                if gene != arch.genes[i]:
                    yield self.canonical(Architecture(self.name, (*arch.genes[:i], gene, *arch.genes[i + 1 :])))

    def distinct_layers(self, input_shape: Shape, n_way: int) -> list[Layer]:
        """Return every layer that some architecture has, once each, sorted, for any place: the rows of a cost table.

        The default visits each combination of the options that other choices need. There it changes one choice at a
        time to find on which choices each position depends, and enumerates those. A space must override it if one
        choice hides whether another matters. Raises `PluginError` for more combinations than can be visited.
        """
        found: set[Layer] = set()
        options = [range(len(c.options)) for c in self.choices]
        for picked in product(*(options[i] for i in self._parents)):
            genes = [0] * len(options)
            for i, gene in zip(self._parents, picked, strict=True):
                genes[i] = gene
            base = self.canonical(Architecture(self.name, tuple(genes)))
            before = self.layers(base, input_shape, n_way)
            needs: dict[int, set[int]] = {position: set() for position in range(len(before))}
            for i, active in enumerate(self.active(base)):
                if active and i not in self._parents:
                    for arch in self._spread(base, (i,)):
                        after = self.layers(arch, input_shape, n_way)
                        for position, (old, new) in enumerate(zip_longest(before, after)):
                            if old != new:
                                needs.setdefault(position, set()).add(i)
            if (count := max((math.prod(len(options[i]) for i in n) for n in needs.values()), default=0)) > 10**7:
                told = f"{self.name}: which layers stand at a place depends on {count:.0e} combinations of options"
                raise PluginError(told, hint="implement distinct_layers in the space")
            for genes_needed in {tuple(sorted(n)) for n in needs.values()}:
                for arch in self._spread(base, genes_needed):
                    found.update(self.layers(arch, input_shape, n_way))
        return sorted(evolve(layer, reads=()) if layer.reads else layer for layer in found)

    def _spread(self, arch: Architecture, genes: tuple[int, ...]) -> Iterator[Architecture]:
        """Yield ``arch`` with every combination of the options of ``genes``."""
        for picked in product(*(range(len(self.choices[i].options)) for i in genes)):
            changed = list(arch.genes)
            for i, gene in zip(genes, picked, strict=True):
                changed[i] = gene
            yield self.canonical(Architecture(self.name, tuple(changed)))

    def _extreme(self, pick: Callable[[Sequence[Any]], Any]) -> Architecture:
        genes = [
            c.options.index(pick(c.options)) if all(isinstance(o, int | float) for o in c.options) else 0
            for c in self.choices
        ]
        return self.canonical(Architecture(self.name, tuple(genes)))

    @cached_property
    def _index(self) -> dict[str, int]:
        return {c.name: i for i, c in enumerate(self.choices)}

    @cached_property
    def _parents(self) -> list[int]:
        return sorted({self._index[c.needs[0]] for c in self.choices if c.needs})
