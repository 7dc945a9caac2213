"""Constraints: upper limits on the cost of a network, such as ``latency<=3ms`` or ``params<=70K``."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from fractions import Fraction
from typing import TypeVar

from attrs import frozen

from hnas.cost import MACS, PARAMS, Cost, Metric
from hnas.cost.units import COUNT, ENERGY, SIZE, TIME, micro
from hnas.errors import ConfigError, close_matches
from hnas_app.costs.amounts import amount

T = TypeVar("T")
R = TypeVar("R")
REFERENCE = "ref"
"""The unit of a limit that is a multiple of the reference network's cost."""

_EXAMPLE = "write METRIC<=NUMBER UNIT, such as 'latency<=3ms' (or latency:3ms), 'params<=70K' or 'latency<=0.6ref'"
_SHAPE = re.compile(r"\s*([^\s<>=!≤≥]+)\s*([<>=!≤≥]+)\s*(.*?)\s*")
_COLON = re.compile(r"\s*([^\s<>=!≤≥:]+)\s*(:)\s*([^:]*?)\s*")
# Bounded digits: an exact fraction of '1e999999999' would fill the memory.
_AMOUNT = re.compile(
    r"([0-9]{1,18}(?:\.[0-9]{1,18})?(?:[eE][+-]?[0-9]{1,2})?)\s*"
    r"((?:(?![eE][+-]?[0-9])[A-Za-z\u00b5\u03bc][A-Za-z0-9/]*)?)"
)


@frozen(kw_only=True)
class Constraint:
    """An upper limit as a user writes it; `resolve` turns it into a number in its metric's unit."""

    metric: str
    amount: Fraction
    """The number exactly as written, so that ``params<=70.085K`` admits 70,085."""
    unit: str
    text: str

    @classmethod
    def parse_all(cls, texts: Sequence[str]) -> tuple[Constraint, ...]:
        """Read several limits. Raises one `ConfigError` that lists every text that cannot be read."""
        return _each(cls.parse, texts)

    @classmethod
    def parse(cls, text: str) -> Constraint:
        """Read ``latency<=3ms``, or ``latency:3ms``, since a shell takes ``<`` for a file.

        Raises `ConfigError` on anything else.
        """
        shape = _SHAPE.fullmatch(text) or _COLON.fullmatch(text)
        if shape is None:
            raise ConfigError(f"constraint {text!r} cannot be read", hint=_EXAMPLE)
        metric, sign, right = shape.groups()
        if sign not in ("<=", ":"):
            why = "a constraint is an upper limit, since every metric is a cost"
            if sign in ("<", "≤", "=<"):
                why = "a limit is inclusive"
            raise ConfigError(
                f"constraint {text!r}: {sign!r} is not possible; {why}", hint=f"write '{metric}<={right}'"
            )
        amount = _AMOUNT.fullmatch(right)
        if amount is None:
            odd = next((f" ({c!r} is not one of the digits 0 to 9)" for c in right if c.isdigit() > c.isascii()), "")
            raise ConfigError(f"constraint {text!r}: {right!r} is not a number with a unit{odd}", hint=_EXAMPLE)
        number = Fraction(amount[1])
        if number <= 0:
            raise ConfigError(f"constraint {text!r}: the limit is {right}, expected more than zero", hint=_EXAMPLE)
        return cls(metric=metric, amount=number, unit=micro(amount[2]), text=f"{metric}<={right}")


@frozen(kw_only=True)
class Limit:
    """A constraint on one of the metrics at hand. ``value`` is in the metric's own unit."""

    metric: Metric
    value: float
    text: str

    def ratio(self, cost: Cost) -> float:
        """Return cost over limit: more than 1 exactly if the limit is violated, infinite for a cost that is NaN."""
        seen = cost[self.metric.name]
        if math.isnan(seen):
            return math.inf
        # The quotient of a cost just above the limit can round to 1.
        return seen / self.value if seen <= self.value else max(seen / self.value, math.nextafter(1, 2))

    def __str__(self) -> str:
        return f"{self.text} ({amount(self.value, self.metric.unit)})" if self.text.endswith(REFERENCE) else self.text


def resolve(constraints: Sequence[Constraint], metrics: Sequence[Metric], reference: Cost | None) -> tuple[Limit, ...]:
    """Turn constraints into limits on ``metrics``; ``reference`` is the cost of the space's reference network.

    Raises one `ConfigError` that lists every constraint that cannot be used.
    """
    return _each(lambda constraint: _limit(constraint, metrics, reference), constraints)


def check_named(texts: Sequence[str], metrics: Sequence[Metric], *, has_reference: bool) -> None:
    """Raise the `ConfigError` that `resolve` would raise for a metric or a unit, before anything is measured.

    ``metrics`` are those of the device; without ``texts`` the default limit is checked.
    """
    known = (*metrics, PARAMS, MACS)
    # Stands for the reference network; only the names of its costs matter here.
    reference = Cost(values={m.name: 1.0 for m in known}) if has_reference else None
    resolve(Constraint.parse_all(texts or (default_constraint(known),)), known, reference)


def split_limits(text: str) -> tuple[str, ...]:
    """Split limits that are joined by commas, as one ``--constraint`` holds them; all of them must hold."""
    return tuple(part.strip() for part in text.split(","))


def default_constraint(metrics: Sequence[Metric]) -> str:
    """Return the default limit of a run: 0.6 of the reference network's cost in the backend's first metric."""
    return f"{metrics[0].name}<=0.6{REFERENCE}"


def _limit(constraint: Constraint, metrics: Sequence[Metric], reference: Cost | None) -> Limit:
    where = f"constraint {constraint.text!r}"
    metric = metric_named(constraint.metric, metrics, where)
    if constraint.unit == REFERENCE:
        if reference is None:
            raise ConfigError(
                f"{where}: the space names no reference network to compare with",
                hint=f"give the limit in a unit: {_names(_units(metric))}",
            )
        if metric.name not in reference.values:
            raise ConfigError(f"{where}: the reference network has no cost in {metric.name}")
        value = constraint.amount * Fraction(reference[metric.name])
    else:
        units = _units(metric)
        if constraint.unit not in units:
            seen = f"unit {constraint.unit!r} is not possible" if constraint.unit else "the unit is missing"
            # Case decides between units ('mJ', 'MJ'), so it is not folded, only pointed out.
            meant = [u for u in units if u and u.lower() == constraint.unit.lower()]
            guess = f" Did you mean {meant[0]!r}?" if meant else ""
            raise ConfigError(
                f"{where}: {seen} for {metric.name}.{guess} Possible: {_names(units)}, "
                f"or {REFERENCE!r} for a multiple of the reference network's cost"
            )
        value = constraint.amount * units[constraint.unit] / units[metric.unit]
    if value <= 0:
        raise ConfigError(f"{where}: the reference network's {metric.name} is {float(value):g}, expected more than 0")
    return Limit(metric=metric, value=float(value), text=constraint.text)


def metric_named(name: str, metrics: Sequence[Metric], where: str) -> Metric:
    """Return a metric by its name. Raises `ConfigError` that begins with ``where`` if there is none."""
    known = {m.name: m for m in metrics}
    if name not in known:
        raise ConfigError(
            f"{where}: unknown metric {name!r}.{close_matches(name, known)} The backend and the space give: "
            f"{', '.join(known)}"
        )
    return known[name]


def _units(metric: Metric) -> Mapping[str, int]:
    """Return the units that a metric can be given in; a unit unknown here stands for itself only."""
    found = (table for table in (TIME, ENERGY, SIZE, COUNT) if metric.unit in table)
    return next(found, {metric.unit: 1})


def _each(read: Callable[[T], R], values: Iterable[T]) -> tuple[R, ...]:
    """Read each of some values. Raises one `ConfigError` that lists all that cannot be read."""
    found, mistakes = [], []
    for value in values:
        try:
            found.append(read(value))
        except ConfigError as mistake:
            mistakes.append(mistake)
    if mistakes:
        hints = dict.fromkeys(m.hint for m in mistakes if m.hint)
        raise ConfigError("\n".join(map(str, mistakes)), hint="; ".join(hints) or None)
    return tuple(found)


def _names(units: Mapping[str, int]) -> str:
    return ", ".join(repr(u) if u else "a plain number" for u in units)
