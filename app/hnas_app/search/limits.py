"""The limits of a run: those given or the default, and what is known of them before its device is measured."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import cache

from hnas.architecture import Architecture
from hnas.backend import HardwareBackend
from hnas.cost import MACS, PARAMS, Cost, Metric
from hnas.errors import ConfigError
from hnas.layer import Layer
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
    """Return which architectures keep the limits of a run. Raises `InfeasibleError` if none does."""
    return _within(setup, config, Constraint.parse_all(limits_of(setup, config, metrics)), metrics, cost)


def check_names(setup: Setup, config: Config, metrics: Sequence[Metric]) -> None:
    """Raise `ConfigError` for limits whose metric or unit a device with these ``metrics`` does not have."""
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
    with given_back(backend, lambda text: None):
        metrics = described(backend).metrics
    check_names(setup, config, metrics)
    check_counted(setup, config)
