"""A sitting with a device: rounds of blocks between anchors; rows are saved as they come, drifted blocks repeated."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from statistics import median

import numpy as np
from attrs import define, field

from hnas.backend import HardwareBackend
from hnas.cost import DeviceInfo, LayerCosts, Rounds, check_costs
from hnas.errors import DeviceError, UnsteadyError
from hnas.layer import Layer
from hnas.seeds import Seeds
from hnas.toolkit.dataflow import dataflow
from hnas_app.costs.amounts import amount
from hnas_app.costs.faults import faults_of

Network = tuple[Layer, ...]
"""The layers of a whole network, measured end to end."""
Item = Layer | Network

ONE = Rounds(count=1, anchor_every=0)
"""How a model is asked: once, and in order."""
FEW = 2
"""Blocks whose repetition is told each; then a line tells of all."""
_END = object()
SAVE_EVERY_S = 0.01
"""How much measuring, in seconds, a kill may lose besides the layer in hand. A real device takes longer for one layer,
so each of its rows is saved at once; 500 rows of a model are saved in a few transactions."""


@define(kw_only=True)
class Sitting:
    """Measures items by key in the rounds that they lack.

    ``save(rows, round)`` stores rows, ``discard(keys, round)`` deletes them, ``tell`` shows a sentence to the user.
    Afterwards ``repeated`` counts the blocks that were measured again. ``unsteady`` counts those whose anchors still
    differed at the last attempt; their items were ``kept``.
    """

    backend: HardwareBackend
    info: DeviceInfo
    items: Mapping[str, Item]
    anchor: Layer | None
    save: Callable[[Mapping[str, LayerCosts], int], None]
    discard: Callable[[Sequence[str], int], None]
    tell: Callable[[str], None]
    seeds: Seeds
    sleep: Callable[[float], None]
    repeated: int = 0
    unsteady: int = 0
    kept: set[str] = field(factory=set)
    _began: float = field(factory=time.monotonic, init=False)
    _done: int = field(default=0, init=False)
    _todo: int = field(default=0, init=False)
    """Blocks that are done, and all."""
    _anchored: float | None = field(default=None, init=False)
    """The anchor's last value, if nothing else has happened since: it closes one block and opens the next."""

    @property
    def _rounds(self) -> Rounds:
        return self.info.rounds or ONE

    def run(self, missing: Mapping[int, Sequence[str]]) -> None:
        """Measure the missing items of each round. Raises `DeviceError`; earlier rows are kept."""
        todo = [
            (nth, block)
            for nth, keys in missing.items()
            for block in blocks(keys, self._rounds, self.seeds.numpy("profile", nth))
        ]
        self._began, self._todo = time.monotonic(), len(todo)
        for self._done, (nth, block) in enumerate(todo):
            self._block(nth, block)

    def _block(self, nth: int, keys: Sequence[str]) -> None:
        for left in reversed(range(self._rounds.attempts)):
            try:
                why = self._attempt(nth, keys)
            except UnsteadyError as cause:
                if not left:
                    self.discard(keys, nth)
                    raise
                why = str(cause)
            if why is None:
                return
            if not left:
                self.unsteady += 1
                self.kept.update(keys)
                return
            self.discard(keys, nth)
            self.repeated += 1
            self._anchored = None
            if self.repeated <= FEW:
                self.tell(f"{why}; {len(keys)} measurements are repeated in {self._rounds.cooling_s:g} s")
            elif self.repeated == FEW + 1:
                self.tell(self._busy())
            self.sleep(self._rounds.cooling_s)

    def _busy(self) -> str:
        """Return what is told once, in place of a line for each block: why, for how long, and what to do."""
        why, what = "the device does other work, or slows down", "give it rest, or cool it"
        if type(self.backend).slot is HardwareBackend.slot:  # this machine
            why = f"this machine is busy, with a load of {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores"
            what = "end what else runs"
        left = (time.monotonic() - self._began) / (self._done + 1) * (self._todo - self._done)
        return (
            f"{self.repeated} blocks were measured again: {why}. At this pace it takes about "
            f"{max(1, round(left / 60))} min more. To have steady costs sooner, {what}; else it goes on without more "
            "notes, and costs that stay unsteady are marked"
        )

    def _attempt(self, nth: int, keys: Sequence[str]) -> str | None:
        """Measure a block. Return why it cannot be trusted, or ``None``."""
        anchored = self.anchor is not None and self._rounds.anchor_every > 0
        before = (self._anchored or self._measure_anchor()) if anchored else None
        rows: dict[str, LayerCosts] = {}
        saved_at = time.monotonic()
        try:
            for key, costs in self._measured(keys):
                check_costs(self.info, key, costs)
                rows[key] = {metric.name: costs[metric.name] for metric in self.info.metrics}
                if time.monotonic() - saved_at >= SAVE_EVERY_S:
                    self._flush(nth, rows)
                    saved_at = time.monotonic()
        finally:
            self._flush(nth, rows)  # also when interrupted, or when a later layer failed
        if before is None:
            return None
        after = self._anchored = self._measure_anchor()
        if abs(after / before - 1) <= self._rounds.anchor_tolerance:
            return None
        unit = self.info.metrics[0].unit
        return f"the anchor layer went from {amount(before, unit)} to {amount(after, unit)}"

    def _flush(self, nth: int, rows: dict[str, LayerCosts]) -> None:
        waiting = dict(rows)
        rows.clear()  # first: if saving fails it is not tried again on the way out
        if waiting:
            self.save(waiting, nth)

    def _measured(self, keys: Sequence[str]) -> Iterator[tuple[str, LayerCosts]]:
        """Yield the costs of each item in order, neighbouring layers by one call of the backend."""
        for is_layer, group in groupby(keys, key=lambda k: isinstance(self.items[k], Layer)):
            run = list(group)
            if is_layer:
                layers = [self.items[k] for k in run]
                yield from zip(run, in_step(self.info, self.backend, layers), strict=True)  # type: ignore[arg-type]
                continue
            for key in run:
                with faults_of(f"the backend {self.info.backend} failed in measure_network() at {key}"):
                    costs = self.backend.measure_network(self.items[key])  # type: ignore[arg-type]
                if costs is None:
                    raise self._unmeasured(self.items[key])  # type: ignore[arg-type]
                yield key, costs

    def _unmeasured(self, network: Network) -> DeviceError:
        """Return why the backend measures no whole network: it never does, or this one's layers do not connect."""
        if type(self.backend).measure_network is not HardwareBackend.measure_network:
            try:
                dataflow(network)
            except DeviceError as cause:
                return DeviceError(
                    f"{self.info.backend} cannot measure a whole network whose layers do not connect: {cause}",
                    hint=f"{cause.hint}; or leave --verify out",
                )
        return DeviceError(
            f"{self.info.backend} cannot measure whole networks, so there is nothing to verify its table with",
            hint="leave --verify out",
        )

    def _measure_anchor(self) -> float:
        assert self.anchor is not None
        (costs,) = in_step(self.info, self.backend, [self.anchor])
        check_costs(self.info, self.anchor.key, costs)
        return costs[self.info.metrics[0].name].median


def in_step(info: DeviceInfo, backend: HardwareBackend, layers: Sequence[Layer]) -> Iterator[LayerCosts]:
    """Measure layers and yield the costs of each.

    Raises `DeviceError` if the backend yields too few or too many, and a `PluginError` that names the layer if its code
    fails.
    """
    with faults_of(f"the backend {info.backend} failed in measure()"):
        answers = iter(backend.measure(layers))
    for i, layer in enumerate(layers):
        with faults_of(f"the backend {info.backend} failed at the layer {layer.key}"):
            costs = next(answers, _END)
        if costs is _END:
            raise DeviceError(
                f"{info.backend} yielded costs for {i} of {len(layers)} layers and stopped before {layer.key}"
            )
        yield costs  # type: ignore[misc]
    with faults_of(f"the backend {info.backend} failed after the last of {len(layers)} layers"):
        more = next(answers, _END)
    if more is not _END:
        raise DeviceError(f"{info.backend} yielded more costs than the {len(layers)} layers that it was asked for")


def blocks(keys: Sequence[str], rounds: Rounds, generator: np.random.Generator) -> Iterator[list[str]]:
    """Yield a round's keys in blocks, shuffled if there is more than one round: drift then affects all alike."""
    order = list(keys) if rounds == ONE else [keys[i] for i in generator.permutation(len(keys))]
    size = rounds.anchor_every or max(1, len(order))
    yield from (order[i : i + size] for i in range(0, len(order), size))


def typical_spread(layers: Iterable[Mapping[int, LayerCosts]], metric: str) -> float | None:
    """Return the median over layers of (largest - smallest round) / median: the noise seen by repeating.

    ``None`` if no layer has been measured twice.
    """
    spreads = []
    for rounds in layers:
        values = [costs[metric].median for costs in rounds.values()]
        if len(values) > 1 and (middle := median(values)) > 0:
            spreads.append((max(values) - min(values)) / middle)
    return median(spreads) if spreads else None
