"""The networks that a run compares what it found with: reference networks, and one scaled to fit the limits."""

from __future__ import annotations

from attrs import frozen

from hnas.architecture import Architecture
from hnas.errors import short
from hnas_app.config.schema import Config
from hnas_app.executors.plugin_exit import wrong
from hnas_app.search.feasibility import Feasibility
from hnas_app.search.scaled import scaled, widths_of
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
