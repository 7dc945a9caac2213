"""The limits of a run: those given or the default, and what is known of them before its device is measured."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from fractions import Fraction
from functools import cache

from hnas.architecture import Architecture
from hnas.backend import HardwareBackend
from hnas.cost import MACS, PARAMS, Cost, Metric
from hnas.errors import ConfigError, InfeasibleError
from hnas.layer import Layer
from hnas_app.config.network_text import read_network
from hnas_app.config.schema import Config
from hnas_app.costs.closing import given_back
from hnas_app.costs.description import described
from hnas_app.costs.limits import Constraint, check_named, default_constraint, resolve
from hnas_app.search.compared import reference_of, widths_of
from hnas_app.search.feasibility import Feasibility
from hnas_app.training.setup.setup import Setup

COUNTED = (PARAMS, MACS)
"""The metrics that are counted, not measured."""


def limits_of(setup: Setup, config: Config, metrics: Sequence[Metric]) -> tuple[str, ...]:
    """Return the limits as they are given, or the default. Raises `ConfigError` if the space has no default."""
    if config.constraints:
        return config.constraints
    if reference_of(setup, config) is None:
        raise ConfigError(
            f"space {setup.space.name} has no reference network, so there is no default limit",
            hint=f"give one, such as --constraint '{metrics[0].name}<=…{metrics[0].unit}'",
        )
    return (default_constraint(metrics),)


def within_limits(
    setup: Setup, config: Config, metrics: Sequence[Metric], cost: Callable[[Architecture], Cost]
) -> Feasibility:
    """Return which architectures keep the limits of a run. Raises `InfeasibleError` if none does.

    The default limit of a network that was given is its own cost: what it is compared with costs no more.
    """
    given = given_network(setup, config)
    if given is None:
        return _within(setup, config, Constraint.parse_all(limits_of(setup, config, metrics)), metrics, cost)
    constraints = Constraint.parse_all(config.constraints)
    if not constraints:
        first = metrics[0]
        own = f"{first.name}<={cost(given)[first.name]:.6g}{first.unit}"
        amount = Fraction(cost(given)[first.name])
        constraints = (Constraint(metric=first.name, amount=amount, unit=first.unit, text=own),)
    found = _within(setup, config, constraints, metrics, cost)
    if not found.feasible(given):
        raise InfeasibleError(
            f"the network given, {setup.space.options(given)}, breaks a limit of {', '.join(config.constraints)}: it "
            f"costs {dict(cost(given).values)}",
            hint="leave the limits out: then it is compared with networks that cost no more than it does",
        )
    return found


def given_network(setup: Setup, config: Config) -> Architecture | None:
    """Return the network of ``search.architecture``, or ``None``. Raises `ConfigError` if it is not in the space."""
    text = config.search.architecture
    return read_network(setup.space, text, "search.architecture") if text else None


def check_names(setup: Setup, config: Config, metrics: Sequence[Metric]) -> None:
    """Raise `ConfigError` for limits whose metric or unit a device with these ``metrics`` does not have."""
    if config.search.architecture and not config.constraints:
        return
    check_named(limits_of(setup, config, metrics), metrics, has_reference=reference_of(setup, config) is not None)


def check_counted(setup: Setup, config: Config) -> None:
    """Raise `InfeasibleError` if no network keeps the limits on parameters and multiply-accumulates."""

    def one_pass(layers: Iterable[Layer]) -> Cost:
        params, macs = zip(*map(_counts, layers), strict=True)
        return Cost(values={PARAMS.name: sum(params), MACS.name: sum(macs)})

    def cost(arch: Architecture) -> Cost:
        return setup.cost(arch, one_pass, COUNTED)

    named = {m.name for m in COUNTED}
    counted = [c for c in Constraint.parse_all(config.constraints) if c.metric in named]
    if counted:
        _within(setup, config, counted, COUNTED, cost)


def _within(
    setup: Setup,
    config: Config,
    constraints: Sequence[Constraint],
    metrics: Sequence[Metric],
    cost: Callable[[Architecture], Cost],
) -> Feasibility:
    reference = reference_of(setup, config)
    limits = resolve(constraints, metrics, cost(reference[1]) if reference else None)
    found = Feasibility(setup.space, limits, cost)
    found.ensure_reachable()
    return found


@cache
def _counts(layer: Layer) -> tuple[float, float]:
    """Count a layer once: a search for the smallest network looks at 100,000 networks."""
    return float(layer.params), float(layer.macs)


def check_limits(setup: Setup, config: Config, backend: HardwareBackend) -> None:
    """Raise what the limits of a new run will raise, as far as it is known before anything is measured.

    The device is asked for its metrics, and given back. Raises `PluginError` if the space names widths that are none.
    """
    widths_of(setup.space)
    given_network(setup, config)
    with given_back(backend, lambda text: None):
        metrics = described(backend).metrics
    check_names(setup, config, metrics)
    check_counted(setup, config)
