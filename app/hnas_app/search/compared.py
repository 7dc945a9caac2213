"""The networks that a run compares what it found with: reference networks, and one scaled in width to fit the limits.

Scaling the reference network is what a user would do by hand.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from attrs import frozen

from hnas.architecture import Architecture
from hnas.errors import short
from hnas.space import SearchSpace
from hnas_app.config.schema import Config
from hnas_app.executors.plugin_exit import wrong
from hnas_app.search.feasibility import Feasibility
from hnas_app.training.setup.setup import Setup

SCALED = "scaled"
"""The name of the reference network that was scaled in width."""


@frozen
class Compared:
    """The networks to compare with by name, and a sentence for each that is named but not there."""

    networks: dict[str, Architecture]
    missing: tuple[str, ...] = ()


def reference_of(setup: Setup, config: Config) -> tuple[str, Architecture] | None:
    """Return the network to measure limits by: the first that the configuration names, or the space's own.

    Raises `ConfigError` if any of those that it names is no reference network of the space.
    """
    named = [(name, _reference(setup, name)) for name in _names(config) if name not in (SCALED, "auto")]
    if named:
        return named[0]
    own = setup.space.default_reference(setup.image_shape)
    return (own, _reference(setup, own)) if own else None


def compared(setup: Setup, config: Config, feasibility: Feasibility) -> Compared:
    """Return the networks that a run trains beside the one that it found, in the order of its configuration."""
    own, networks, missing = reference_of(setup, config), dict[str, Architecture](), list[str]()
    names = _names(config) if own else ()
    for name in names:
        assert own is not None
        if name != SCALED:
            networks |= [own] if name == "auto" else [(name, _reference(setup, name))]
        elif not widths_of(setup.space):
            missing.append(f"{SCALED}: {setup.space.name} has no choices of widths, so {own[0]} cannot be scaled")
        elif (arch := scaled(setup.space, own[1], feasibility.feasible)) is None:
            missing.append(f"{SCALED}: {own[0]} satisfies the limits at no width of {setup.space.name}")
        elif arch == own[1] and not {"auto", own[0]}.isdisjoint(names):
            missing.append(f"{SCALED}: {own[0]} itself is the widest that satisfies the limits")
        else:
            networks[SCALED] = arch
    return Compared(networks, tuple(missing))


def known(setup: Setup, config: Config, feasibility: Feasibility) -> tuple[Architecture, ...]:
    """Return the architectures that the first batch of a strategy may hold."""
    own = reference_of(setup, config)
    if config.search.start == "random" or own is None:
        return ()
    arch = scaled(setup.space, own[1], feasibility.feasible)
    return () if arch is None else (arch,)


def _names(config: Config) -> tuple[str, ...]:
    """Return the names in ``retrain.reference``."""
    return tuple(name for n in config.retrain.reference.split(",") if (name := n.strip()) != "none")


def _reference(setup: Setup, name: str) -> Architecture:
    """Return a reference network of the space. Raises `ConfigError` if it has none of this name."""
    arch = setup.space.reference(name)
    if not isinstance(arch, Architecture):
        raise wrong(setup.space, "reference", short(arch), "an Architecture")
    return arch


def scaled(
    space: SearchSpace, reference: Architecture, feasible: Callable[[Architecture], bool]
) -> Architecture | None:
    """Return the widest network that differs from ``reference`` in width only and is ``feasible``.

    All layers have one width, the largest that fits; then single layers get the next larger one if that fits too,
    output side first, since widths cost less in small maps. ``None`` if no width fits, or the space names no widths.
    """
    active = space.options(reference)
    widths = {name: options for name, options in widths_of(space).items() if name in active}

    def network(options: Mapping[str, float]) -> Architecture:
        return space.architecture(**{**active, **options})

    for width in sorted({w for options in widths.values() for w in options}, reverse=True):
        found = {name: max((w for w in options if w <= width), default=options[0]) for name, options in widths.items()}
        if feasible(network(found)):
            break
    else:
        return None
    for name in reversed(widths):
        wider = next((found | {name: w} for w in widths[name] if w > found[name]), found)
        if feasible(network(wider)):
            found = wider
    return network(found)


def widths_of(space: SearchSpace) -> dict[str, list[float]]:
    """Return the options of each choice of a width, smallest first; the choices input side first.

    Raises `PluginError` if the space names something else.
    """
    widths = {c.name: sorted(o for o in c.options if isinstance(o, int | float)) for c in space.choices}
    numbers = {c.name for c in space.choices if all(type(o) in (int, float) for o in c.options)}
    named = space.width_choices()
    strange = [name for name in named if name not in numbers] if isinstance(named, list | tuple) else named
    if strange != []:
        raise wrong(space, "width_choices", short(strange), "names of choices whose options are numbers")
    return {name: widths[name] for name in named}
