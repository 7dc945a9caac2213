"""Values: the description of a device, the measurements of a layer, and the cost of a whole network."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

from attrs import Attribute, Factory, field, frozen

from hnas.cost.units import meant
from hnas.errors import DeviceError, PluginError, close_matches, short

COMBINE = ("sum", "max")
MOST = 1e18
"""The largest value of a measurement in any unit: 30 years in ns."""


def _no_misspelt_unit(metric: Metric, attribute: Attribute[str], unit: str) -> None:
    if known := meant(unit):
        raise PluginError(
            f"Metric(name={metric.name!r}, unit={unit!r}): there is no such unit. Did you mean {known!r}?",
            hint=f"write {known!r} there, and in each Measurement",
        )


def _combines(metric: Metric, attribute: Attribute[str], combine: str) -> None:
    if combine not in COMBINE:
        raise PluginError(
            f"Metric(name={metric.name!r}, combine={combine!r}): expected 'sum' or 'max'."
            f"{close_matches(str(combine), COMBINE)}",
            hint="'sum' if layers add up, as latency does; 'max' if the largest counts, as for memory that is reused",
        )


@frozen(kw_only=True)
class Metric:
    """Something that a backend measures for a layer, and how layers combine into a network.

    ``unit`` is a unit of `hnas.cost.units` (``ms``, ``mJ``, ``B``, …), or empty for a plain count. Any other (``mm2``)
    is taken as it is. Raises `PluginError` if ``combine`` is neither option, or if ``unit`` differs from a known one
    only in case.
    """

    name: str
    unit: str = field(default="", validator=_no_misspelt_unit)
    combine: Literal["sum", "max"] = field(default="sum", validator=_combines)
    help: str = ""

    @property
    def column(self) -> str:
        """The name with its unit, as reports and JSON print it: ``latency_ms``, ``cycles``."""
        return f"{self.name}_{self.unit}" if self.unit else self.name


PARAMS = Metric(name="params", help="learned parameters")
MACS = Metric(name="macs", help="multiply-accumulates for one image")


@frozen(kw_only=True)
class Rounds:
    """How a noisy device is measured: every layer once in each of ``count`` rounds, each in an order of its own.

    A layer's value is the median of its rounds' medians. Without rounds, drift of clock and temperature would affect
    some layers only. On an ARM board, all layers first and all networks later were 6.5 to 22 % apart, shuffled rounds
    7.6 to 9.5 %. An anchor layer is measured before and after each block of ``anchor_every`` layers. If the two differ
    by more than ``anchor_tolerance``, the block is measured again after ``cooling_s`` seconds, at most ``attempts``
    times.
    """

    count: int = 3
    anchor_every: int = 25
    anchor_tolerance: float = 0.05
    attempts: int = 3
    cooling_s: float = 5.0
    layer_s: float = 0.0
    """About how long one layer takes in one round, in seconds, for forecasts; 0: not known."""


@frozen(kw_only=True)
class DeviceInfo:
    """The device that a backend measures, and its metrics. ``settings`` holds whatever changes a measurement.

    ``runtime`` names the software and its version (``torch 2.7``, ``roofline 1``). The fingerprint (of backend, device,
    runtime and settings) keys the rows of a cost table: two devices with one fingerprint share their rows. So a model
    needs a new version there when its formulas change; user code is also distinguished by its source.
    """

    backend: str
    device: str
    runtime: str
    metrics: tuple[Metric, ...]
    settings: Mapping[str, Any] = Factory(dict)
    ops: frozenset[str] | None = None
    """The operations that cost something here; ``None``: all of `hnas.toolkit.operations.OPERATIONS`."""
    free: frozenset[str] | None = None
    """The operations that cost nothing here; ``None``: all that ``ops`` leaves out, except ``concat``. A layer whose
    operation is in neither is refused before anything is measured."""
    rounds: Rounds | None = None
    """How often each layer is measured; ``None`` for a model, which returns the same each time."""
    conditions: Mapping[str, Any] = Factory(dict)
    """The state of the device before measuring, as JSON (governor, clock, temperature, load): kept with the table, not
    part of the fingerprint. ``warnings``, a list of sentences, is shown to the user."""

    @property
    def fingerprint(self) -> str:
        text = json.dumps([self.backend, self.device, self.runtime, dict(self.settings)], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]


def _float(value: Any) -> float:
    value = value.item() if hasattr(value, "item") else value  # of numpy or torch
    if isinstance(value, bool) or not hasattr(value, "__float__"):
        raise TypeError(f"expected a number, got {short(value)}")
    return float(value)


def _floats(values: Iterable[Any]) -> tuple[float, ...]:
    return tuple(map(_float, values))


def _whole(value: Any) -> int:
    if not _float(value).is_integer():
        raise TypeError(f"expected a whole number, got {short(value)}")
    return int(value)


@frozen(kw_only=True)
class Measurement:
    """One metric of one layer: the median of ``n`` samples and their median absolute deviation, in ``unit``.

    ``samples`` are the raw samples in the order taken, if they are kept. Numbers of numpy become Python's, because
    neither the store nor JSON would accept them.
    """

    median: float = field(converter=_float)
    mad: float = field(default=0.0, converter=_float)
    n: int = field(default=1, converter=_whole)
    unit: str = ""
    samples: tuple[float, ...] = field(default=(), converter=_floats)

    @classmethod
    def of(cls, samples: Sequence[float], unit: str) -> Measurement:
        """Summarise samples, at least one."""
        from statistics import median

        middle = median(samples)
        spread = median([abs(s - middle) for s in samples])
        return cls(median=middle, mad=spread, n=len(samples), unit=unit, samples=tuple(samples))


LayerCosts = Mapping[str, Measurement]
"""Metric name to measurement, for one layer."""


def check_costs(info: DeviceInfo, layer_key: str, costs: LayerCosts) -> None:
    """Raise `DeviceError` unless ``costs`` has each metric of the device as numbers from 0 to `MOST` in its unit."""
    if not isinstance(costs, Mapping):
        wanted = ", ".join(f"{m.name!r}: hnas.Measurement(…)" for m in info.metrics)
        raise DeviceError(f"{info.backend} gave {short(costs)} for {layer_key}; expected a mapping, {{{wanted}}}")
    for metric in info.metrics:
        if (found := costs.get(metric.name)) is None:
            raise DeviceError(f"{info.backend} gave no {metric.name!r} for {layer_key}; it gave {short(list(costs))}")
        if not isinstance(found, Measurement):
            raise DeviceError(
                f"{info.backend} gave {metric.name} = {short(found)} for {layer_key}; expected a hnas.Measurement",
                hint=f"write hnas.Measurement(median=…, unit={metric.unit!r})",
            )
        values = [("", found.median), ("the deviation of ", found.mad), *(("a sample of ", s) for s in found.samples)]
        for what, value in values:
            if not 0 <= value <= MOST or found.unit != metric.unit:
                raise DeviceError(
                    f"{info.backend} gave {what}{metric.name} = {value!r} {found.unit!r} for {layer_key}; expected a "
                    f"finite number, not negative, up to {MOST:g}, in {metric.unit!r}"
                )
        if not 1 <= found.n <= MOST:
            raise DeviceError(
                f"{info.backend} gave {metric.name} of n={found.n} samples for {layer_key}; expected 1 or more"
            )


def _copy(values: Mapping[str, float]) -> Mapping[str, float]:
    return dict(values)


@frozen(kw_only=True)
class Cost:
    """What one network costs: metric name to value, in each metric's own unit."""

    values: Mapping[str, float] = field(converter=_copy)

    def __getitem__(self, metric: str) -> float:
        return self.values[metric]
