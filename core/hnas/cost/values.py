"""What a device says of itself, of one layer, and what the core makes of it for a whole network."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

from attrs import Attribute, Factory, field, frozen

from hnas.cost.units import meant
from hnas.errors import DeviceError, PluginError, close_matches, short

SCHEMA = 1
COMBINE = ("sum", "max")


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
            hint="'sum' where layers add up, as latency does; 'max' where the largest counts, as of memory used anew",
        )


@frozen(kw_only=True)
class Metric:
    """Something that a backend measures for a layer, and how layers combine into a network.

    ``unit`` is one of the units that `hnas.cost.units` knows (``ms``, ``mJ``, ``B``, …), or empty for a plain count.
    Another one (``mm2``) stands for itself. Raises `PluginError` for a ``combine`` that is neither, and for a unit
    that is a known one but for its case.
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

    A layer's value is the median of its rounds' medians. One after the other, drift of clock and temperature would fall
    on some layers only: all layers first and all networks later were 6.5 to 22 % apart on an ARM board, shuffled rounds
    7.6 to 9.5 %. An anchor layer is measured before and after each block of ``anchor_every`` layers; where the two
    differ by more than ``anchor_tolerance``, the block is measured again after ``cooling_s`` seconds, ``attempts``
    times at most.
    """

    count: int = 3
    anchor_every: int = 25
    anchor_tolerance: float = 0.05
    attempts: int = 3
    cooling_s: float = 5.0
    layer_s: float = 0.0
    """About how long one layer takes in one round, in seconds, for telling beforehand; 0: not known."""


@frozen(kw_only=True)
class DeviceInfo:
    """Which device a backend measures, and what. ``settings`` holds whatever changes a measurement.

    ``runtime`` names what runs the layers, with its version (``torch 2.7``, ``roofline 1``). The fingerprint (of
    backend, device, runtime and settings) keys the rows of a cost table: two devices with one fingerprint share their
    rows. So a model whose formulas changed says another version there; user code is told apart by its source, too.
    """

    backend: str
    device: str
    runtime: str
    metrics: tuple[Metric, ...]
    settings: Mapping[str, Any] = Factory(dict)
    ops: frozenset[str] | None = None
    """The operations that cost something here; ``None`` means all. Others are free and are not listed."""
    rounds: Rounds | None = None
    """How often each layer is measured; ``None`` for a model, which gives the same each time."""
    conditions: Mapping[str, Any] = Factory(dict)
    """What was seen of the device before measuring, as JSON (governor, clock, temperature, load): kept with the table,
    no part of the fingerprint. ``warnings``, a list of sentences, is shown to the user."""

    @property
    def fingerprint(self) -> str:
        text = json.dumps([self.backend, self.device, self.runtime, dict(self.settings)], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]


def _floats(values: Iterable[float]) -> tuple[float, ...]:
    return tuple(map(float, values))


@frozen(kw_only=True)
class Measurement:
    """One metric of one layer: the median of ``n`` samples and their median absolute deviation, in ``unit``.

    ``samples`` are the raw ones, in the order in which they were taken, where they are kept. Numbers of numpy become
    Python's: neither the store nor JSON would take them as numbers.
    """

    median: float = field(converter=float)
    mad: float = field(default=0.0, converter=float)
    n: int = 1
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
    """Raise `DeviceError` unless ``costs`` holds every metric of the device as a finite number that is not negative."""
    if not isinstance(costs, Mapping):
        wanted = ", ".join(f"{m.name!r}: hnas.Measurement(…)" for m in info.metrics)
        raise DeviceError(f"{info.backend} gave {short(costs)} for {layer_key}; expected a mapping, {{{wanted}}}")
    for metric in info.metrics:
        found = costs.get(metric.name)
        if found is None:
            raise DeviceError(f"{info.backend} gave no {metric.name!r} for {layer_key}; it gave {sorted(costs)}")
        if not isinstance(found, Measurement):
            raise DeviceError(
                f"{info.backend} gave {metric.name} = {short(found)} for {layer_key}; expected a hnas.Measurement",
                hint=f"write hnas.Measurement(median=…, unit={metric.unit!r})",
            )
        if not (math.isfinite(found.median) and found.median >= 0) or found.unit != metric.unit:
            raise DeviceError(
                f"{info.backend} gave {metric.name} = {found.median!r} {found.unit!r} for {layer_key}; expected a "
                f"finite number, not negative, in {metric.unit!r}"
            )


def _copy(values: Mapping[str, float]) -> Mapping[str, float]:
    return dict(values)


@frozen(kw_only=True)
class Cost:
    """What one network costs: metric name to value, in each metric's own unit."""

    values: Mapping[str, float] = field(converter=_copy)

    def __getitem__(self, metric: str) -> float:
        return self.values[metric]
