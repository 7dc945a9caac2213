"""The tests that every hardware backend has to pass."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Literal, get_args, get_origin, get_type_hints

import attrs

from hnas.backend import HardwareBackend
from hnas.cost import MACS, PARAMS, CostTable, DeviceInfo, LayerCosts, check_costs, priced
from hnas.cost.units import UNITS
from hnas.errors import DeviceError, HnasError
from hnas.layer import Layer
from hnas.toolkit.codec import from_json, to_json
from hnas_app.costs.limits import Constraint, resolve
from hnas_app.testing.conformance import Conformance
from hnas_app.testing.expectation import ending, expect, not_applicable
from hnas_app.testing.networks import CHAIN, EVERY_LAYER, RESIDUAL


class BackendConformance(Conformance[HardwareBackend]):
    """Tests of a backend. A model (`DeviceInfo.rounds` is ``None``) must repeat itself exactly, a device roughly."""

    networks: Sequence[Sequence[Layer]] = (CHAIN, RESIDUAL)
    """The networks whose layers are measured. Replace them if the device cannot run these."""
    repeatability: float = 2.0
    """By what factor two measurements of a layer may differ on a real device, on a busy machine."""
    network_factor: float = 4.0
    """By what factor a real device's whole network may differ from the sum over its layers."""
    network_tolerance: float = 1e-6
    """By what share a model's whole network may differ from its layers, combined as `describe` states."""

    @contextmanager
    def opened(self) -> Iterator[HardwareBackend]:
        """Make a backend, and give the device back at the end."""
        backend = self.make()
        try:
            yield backend
        finally:
            backend.close()

    def layers(self, info: DeviceInfo) -> list[Layer]:
        """Return the distinct layers of the networks that cost something on the device, and that it knows."""
        network = (layer for network in self.networks for layer in network if _is_known(info, layer))
        found = dict.fromkeys(layer for layer in network if priced(info, layer))
        return [attrs.evolve(layer, reads=()) for layer in found]

    # ---------------------------------------------------------------- its description

    def test_describes_a_device(self) -> None:
        """Names for the user, and settings and conditions that the record of a run can hold."""
        with self.opened() as backend:
            info = backend.describe()
        for name in ("backend", "device", "runtime"):
            value = getattr(info, name)
            expect(isinstance(value, str) and bool(value), f"DeviceInfo.{name} to be a text", value, "say it there")
        for name in ("settings", "conditions"):
            try:
                back: Any = json.loads(json.dumps(dict(getattr(info, name))))
            except (TypeError, ValueError) as cause:
                back = f"{type(cause).__name__}: {cause}"
            then = "give numbers, text, truth, lists and objects only"
            expect(isinstance(back, dict), f"DeviceInfo.{name} to be JSON", back, then)

    def test_metrics_take_limits(self) -> None:
        """Each metric has a name of its own and a unit that is known, so that ``NAME<=1UNIT`` is a limit."""
        with self.opened() as backend:
            metrics = backend.describe().metrics
        names = [m.name for m in metrics]
        taken = {PARAMS.name, MACS.name}
        own = bool(names) and len(set(names)) == len(names) and not taken & set(names)
        then = "declare at least one metric, each once; params and macs come from the core"
        expect(own, "metrics with names of their own", names, then)
        for m in metrics:
            known = ", ".join(filter(None, UNITS))
            expect(m.unit in UNITS, f"a unit that is known for {m.name}", repr(m.unit), f"use one of {known}, or none")
            limit, then = f"{m.name}<=1{m.unit}", "call it by one word of letters, digits and underscores"
            with ending(f"'{limit}' to be a limit", then):
                resolve([Constraint.parse(limit)], metrics, None)

    def test_describes_the_same_device_again(self) -> None:
        """The fingerprint keys the rows that are kept: if it changed, every run would measure everything again."""
        with self.opened() as backend:
            twice = [backend.describe().fingerprint for _ in range(2)]
        with self.opened() as other:
            twice.append(other.describe().fingerprint)
        then = "leave out of DeviceInfo.settings what changes by itself, such as the time or the load; see conditions"
        expect(len(set(twice)) == 1, "one fingerprint for one device", twice, then)

    def test_fingerprint_tells_settings_apart(self) -> None:
        """An option that changes measurements must change the fingerprint, or kept rows would be mixed up."""
        options = self.options_class()
        with self.opened() as backend:
            info, cls = backend.describe(), type(backend)
            if info.rounds is not None:
                not_applicable("on a real device noise cannot be told from what an option changes")
            base = list(backend.measure(self.layers(info)))
        for f in attrs.fields(options):
            for value in _others(getattr(options(), f.name), get_type_hints(options)[f.name]):
                try:
                    changed = cls(options(**{f.name: value}))  # type: ignore[call-arg]
                    other = changed.describe()
                    rows = list(changed.measure(self.layers(info)))
                except (HnasError, ValueError, TypeError):
                    continue  # not a valid value
                expect(
                    rows == base or other.fingerprint != info.fingerprint,
                    f"another fingerprint with {f.name}={value!r}, which changes what is measured",
                    f"{info.fingerprint} for both; settings are {dict(other.settings)}",
                    f"put {f.name} into DeviceInfo.settings",
                )

    # ---------------------------------------------------------------- its measurements

    def test_yields_one_row_for_each_layer(self) -> None:
        """As many as were asked for: the core pairs rows and layers by their order."""
        with self.opened() as backend:
            layers = self.layers(backend.describe())
            counts = [len(list(backend.measure(some))) for some in (layers, layers[:1], [])]
        then = "yield once for each layer in `measure`, and nothing for no layers"
        expect(counts == [len(layers), 1, 0], f"{[len(layers), 1, 0]} rows", counts, then)

    def test_rows_hold_every_metric_in_its_unit(self) -> None:
        """Finite numbers that are not negative: a NaN would satisfy no limit, or all."""
        with self.opened() as backend:
            info, layers, rows = self._measured(backend)
        for layer, row in zip(layers, rows, strict=False):
            then = "yield a Measurement of each metric of `describe`, in the unit that it has there"
            with ending(f"every metric of {layer.key}", then):
                check_costs(info, layer.key, row)
            extra = sorted(set(row) - {m.name for m in info.metrics})
            expect(not extra, "no more metrics than `describe` declares", extra, "declare them, or leave them out")

    def test_a_measurement_can_be_interrupted(self) -> None:
        """Rows come one by one, so that each is saved at once, and after an interruption the backend still works."""
        with self.opened() as backend:
            layers = self.layers(backend.describe())
            rows = backend.measure(layers)
            expect(iter(rows) is rows, "`measure` to return an iterator", type(rows), "write it with `yield`")
            next(rows)
            getattr(rows, "close", lambda: None)()
            again = list(backend.measure(layers[:1]))
        then = "leave the device as it was when the iterator is closed: use try/finally around `yield`"
        expect(len(again) == 1, "a row after an interruption", again, then)

    def test_measuring_again_gives_the_same(self) -> None:
        """Exactly for a model, by another instance too; within `repeatability` on a device."""
        with self.opened() as backend:
            info, layers, once = self._measured(backend)
            twice = list(backend.measure(layers))
        self._only_costs(info, layers, once)
        with self.opened() as other:
            _, _, thrice = self._measured(other)
        for again in (twice, thrice):
            self._compare(info, layers, once, again, "measured again")

    def test_a_layer_costs_the_same_among_others(self) -> None:
        """A table knows a layer by its shapes alone: neither its neighbours nor its turn may matter."""
        with self.opened() as backend:
            info, layers, forwards = self._measured(backend)
            backwards = list(backend.measure(layers[::-1]))[::-1]
            alone = [row for layer in layers for row in backend.measure([layer])]
        if not len(forwards) == len(backwards) == len(alone) == len(layers):
            not_applicable("there is not one row for each layer, which another test reports")
        self._only_costs(info, layers, forwards)
        self._compare(info, layers, forwards, backwards, "in the opposite order")
        self._compare(info, layers, forwards, alone, "alone")

    def test_networks_cost_what_their_layers_do(self) -> None:
        """Whole networks, if the backend measures them, against their layers, combined as `describe` states."""
        with self.opened() as backend:
            info, layers, rows = self._measured(backend)
            table = self._table(info, layers, rows)
            networks = [network for network in self.networks if all(_is_known(info, layer) for layer in network)]
            measured = [backend.measure_network(network) for network in networks]
        if all(whole is None for whole in measured):
            not_applicable("the backend does not measure whole networks")
        for network, whole in zip(networks, measured, strict=True):
            if whole is None:
                continue
            for metric in info.metrics:
                total, seen = table.cost(network)[metric.name], whole[metric.name].median
                off = abs(seen - total) > self.network_tolerance * max(abs(total), abs(seen))
                if info.rounds is not None:
                    off = not _within(seen, total, self.network_factor)
                then = (
                    f"look at how {metric.name} combines, at what `ops` leaves out, or set the tolerance in your test"
                )
                expected = f"{metric.name} of a network of {len(network)} layers to be about {total:.6g} {metric.unit}"
                expect(not off, expected, f"{seen:.6g} {metric.unit}", then)

    def test_table_survives_json(self) -> None:
        """A profile is exported, carried and imported as JSON: description and rows must come back as they were."""
        with self.opened() as backend:
            info, layers, rows = self._measured(backend)
        table = self._table(info, layers, rows)
        back = from_json(json.loads(json.dumps(to_json(table))), CostTable, "the table")
        network = [layer for layer in self.networks[0] if _is_known(info, layer)]
        then = "give DeviceInfo.settings and conditions lists and text, not tuples, paths or numbers of numpy"
        expect(back.info == info, f"the description {info} after a round trip", back.info, then)
        expect(back.rows == table.rows, "the same rows after a round trip", "others", "give floats and text")
        expect(back.cost(network) == table.cost(network), "the same cost of a network", back.cost(network), then)

    def test_a_layer_it_does_not_know_is_its_own_error(self) -> None:
        """A space may have layers that the backend does not know: it prices them, or raises `DeviceError`."""
        then = "raise hnas.DeviceError with the layer's key and a hint, or name in DeviceInfo.ops what costs something"
        with self.opened() as backend:
            info = backend.describe()
            for layer in EVERY_LAYER:
                with ending(f"costs of {layer.key}, or a DeviceError that names it", then) as seen:
                    try:
                        count = len(list(backend.measure([layer]))) if priced(info, layer) else 1
                    except DeviceError as cause:
                        seen += [] if layer.key in str(cause) else [str(cause)]
                    else:
                        seen += [] if count == 1 else [f"{count} rows"]

    def test_operations_of_others_are_refused_before_anything_is_measured(self) -> None:
        """An operation that is neither priced nor free would cost nothing in every table, or end a profile half-way."""
        with self.opened() as backend:
            info = backend.describe()
        own = Layer(op="operation_of_tomorrow", in_shape=(2, 4, 4), out_shape=(2, 4, 4), counts=(1, 16))
        then = "name each operation that is priced in DeviceInfo.ops, and those of others that are free in `free`"
        try:
            found = "priced" if priced(info, own) else "free"
        except DeviceError:
            return
        expect(False, f"{own.op!r} to be neither priced nor free", found, then)

    def test_closes_whatever_happened(self) -> None:
        """``close`` is called after errors too, also if nothing was opened."""
        with ending("a backend that was not used to close", "close only what was opened"):
            self.make().close()

    # ---------------------------------------------------------------- inside

    def _measured(self, backend: HardwareBackend) -> tuple[DeviceInfo, list[Layer], list[LayerCosts]]:
        info = backend.describe()
        layers = self.layers(info)
        return info, layers, list(backend.measure(layers))

    def _only_costs(self, info: DeviceInfo, layers: Sequence[Layer], rows: Sequence[LayerCosts]) -> None:
        """Skip a test that needs costs if a row is none: `test_rows_hold_every_metric_in_its_unit` reports why."""
        for layer, row in zip(layers, rows, strict=False):
            try:
                check_costs(info, layer.key, row)
            except DeviceError:
                not_applicable("a row is no cost of its layer, which another test reports")

    def _table(self, info: DeviceInfo, layers: Sequence[Layer], rows: Sequence[LayerCosts]) -> CostTable:
        self._only_costs(info, layers, rows)
        return CostTable(info=info, rows={la.key: row for la, row in zip(layers, rows, strict=False)})

    def _compare(
        self, info: DeviceInfo, layers: Sequence[Layer], one: Sequence[LayerCosts], two: Sequence[LayerCosts], how: str
    ) -> None:
        __tracebackhide__ = True
        factor = 1.0 if info.rounds is None else self.repeatability
        for layer, a, b in zip(layers, one, two, strict=False):
            for name in a:
                x, y = a[name].median, b[name].median if name in b else float("nan")
                then = "let a cost depend on the layer and the options alone; a real device states rounds in `describe`"
                expected = f"{name} of {layer.key}, {how}, to be {x!r}"
                expect(_within(y, x, factor), f"{expected} within a factor of {factor}", repr(y), then)


def _within(a: float, b: float, factor: float) -> bool:
    if factor == 1.0 or 0 in (a, b):
        return a == b
    return 1 / factor <= a / b <= factor


def _others(value: Any, expected: Any) -> list[Any]:
    """Return other values that an option may be able to take."""
    if get_origin(expected) is Literal:
        return [o for o in get_args(expected) if o != value]
    if isinstance(value, bool):
        return [not value]
    if isinstance(value, int):
        return [value + 1, 2 * value]
    return [2 * value, value / 2] if isinstance(value, float) else []


def _is_known(info: DeviceInfo, layer: Layer) -> bool:
    """Return whether the backend prices the layer or declares it free: it need not do so for all operations."""
    try:
        priced(info, layer)
    except DeviceError:
        return False
    return True
