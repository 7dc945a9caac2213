"""Phase 2: each layer measured once, saved as it comes, checked, and reported."""

import json
import time

import attrs
import pytest

from hnas import (
    Choice,
    DeviceError,
    DeviceInfo,
    HardwareBackend,
    Layer,
    Measurement,
    Metric,
    PluginError,
    SearchSpace,
)
from hnas_app.costs import measuring
from hnas_app.costs.description import described
from hnas_app.costs.profile import plan, profile
from hnas_app.costs.profile_json import profile_json
from hnas_app.costs.store import CostStore


class TwoLayers(SearchSpace):
    """A convolution of three widths and two kernels, normalised, activated, and classified: nine layers that cost."""

    name = "two-layers"
    choices = (Choice(name="width", options=(4, 8, 16)), Choice(name="kernel", options=(1, 3)))

    def layers(self, arch, input_shape, n_way):
        width, kernel = (c.options[g] for c, g in zip(self.choices, arch.genes, strict=True))
        inner = (width, input_shape[1], input_shape[2])
        return [
            Layer(op="conv2d", in_shape=input_shape, out_shape=inner, kernel=kernel, padding=kernel // 2, bias=True),
            Layer(op="norm", in_shape=inner, out_shape=inner),
            Layer(op="relu", in_shape=inner, out_shape=inner),
            Layer(op="linear", in_shape=(width, 1, 1), out_shape=(n_way, 1, 1), bias=True),
        ]

    def references(self):
        return {"large": self.architecture(width=16, kernel=3)}

    def supernet(self, input_shape, n_way):
        raise AssertionError("profiling needs no network")


class Counter(HardwareBackend):
    """A device whose latency is a layer's MACs at one a nanosecond. It remembers what it was asked."""

    def __init__(self, *, settings=None, delay_s=0.0, stop_at=None, costs=None, checked=None):
        self.asked = []
        self._settings, self._delay_s, self._stop_at = settings or {}, delay_s, stop_at
        self._costs, self._checked = costs, checked

    def describe(self):
        return DeviceInfo(
            backend="counter",
            device="Counter",
            runtime="1",
            metrics=(Metric(name="latency", unit="ms"), Metric(name="cycles")),
            settings=self._settings,
            ops=frozenset({"conv2d", "linear"}),
        )

    def measure(self, layers):
        for i, layer in enumerate(layers):
            if i == self._stop_at:
                raise KeyboardInterrupt
            time.sleep(self._delay_s)
            self.asked.append(layer.key)
            yield self.costs(layer)

    def costs(self, layer):
        if self._costs is not None:
            return self._costs
        return {
            "latency": Measurement(median=layer.macs * 1e-6, unit="ms"),
            "cycles": Measurement(median=float(layer.macs)),
        }

    def check_table(self, table, layers):
        if self._checked is not None:
            raise DeviceError(self._checked)
        return {"rows": len(table), "in order": [la.key for la in layers] == list(table)}


SAME = {"in_shape": (4, 6, 6), "out_shape": (4, 6, 6)}
GOOD = {"latency": Measurement(median=1.0, unit="ms"), "cycles": Measurement(median=1.0)}
SPACE, SHAPE, N_WAY = TwoLayers(), (3, 6, 6), 5
PRICED = [la for la in SPACE.distinct_layers(SHAPE, N_WAY) if la.op in ("conv2d", "linear")]


def run(backend, store=None, **how):
    events = []
    table = profile(backend, SPACE, SHAPE, N_WAY, store=store, emit=events.append, **how)
    return table, events


@pytest.fixture
def store(tmp_path):
    with CostStore(tmp_path / "costs.sqlite3") as opened:
        yield opened


def test_measures_every_layer_that_costs_once_and_in_order():
    """A layer is measured twice or never, or the device is asked about operations that it does not price."""
    backend = Counter()
    table, _ = run(backend)
    assert len(PRICED) == 9
    assert backend.asked == [la.key for la in PRICED]
    assert table.rows == {la.key: backend.costs(la) for la in PRICED}
    assert table.check == {"rows": 9, "in order": True}


@pytest.mark.parametrize("own", [Layer(op="tanh", **SAME, counts=(0, 0)), Layer(op="concat", **SAME)])
def test_an_operation_that_is_neither_priced_nor_free_is_refused_before_anything_is_measured(own):
    """It would be free in every table, and a whole run would end with a wrong one."""

    class WithOwn(TwoLayers):
        def layers(self, arch, input_shape, n_way):
            return [*super().layers(arch, input_shape, n_way), own]

    backend, space = Counter(), WithOwn()
    for start in (plan, profile):
        emit = {} if start is plan else {"emit": lambda event: None}
        with pytest.raises(DeviceError, match=f"counter neither prices '{own.op}' .*{own.key}"):
            start(backend, space, SHAPE, N_WAY, store=None, **emit)
    assert backend.asked == []


def test_layers_that_read_what_there_is_not_are_refused_before_anything_is_measured():
    class ReadsBeyond(TwoLayers):
        def layers(self, arch, input_shape, n_way):
            first, *rest = super().layers(arch, input_shape, n_way)
            return [attrs.evolve(first, reads=(5,)), *rest]

    backend = Counter()
    with pytest.raises(PluginError, match=r"ReadsBeyond, in layers\(\) of its smallest network: layer 1 of the"):
        plan(backend, ReadsBeyond(), SHAPE, N_WAY, store=None)
    assert backend.asked == []


def test_rows_are_for_any_place():
    """The layers of a space that lists them itself say where they stand in one network."""

    class Listed(TwoLayers):
        def distinct_layers(self, input_shape, n_way):
            return [attrs.evolve(layer, reads=(3,)) for layer in super().distinct_layers(input_shape, n_way)]

    assert all(layer.reads == () for layer in plan(Counter(), Listed(), SHAPE, N_WAY, store=None).layers)


def test_prices_every_architecture_of_the_space():
    """The search meets an architecture with a layer that was never profiled."""
    table, _ = run(Counter())
    for width in (4, 8, 16):
        for kernel in (1, 3):
            layers = SPACE.layers(SPACE.architecture(width=width, kernel=kernel), SHAPE, N_WAY)
            assert table.cost(layers)["latency"] == pytest.approx(table.cost(layers)["macs"] * 1e-6)


def test_a_second_profile_measures_nothing(store):
    """The promise of the paper's phase 2, one profile for every task and limit, is broken."""
    first, _ = run(Counter(), store)
    backend = Counter()
    second, events = run(backend, store)
    assert backend.asked == []
    assert second == first
    assert events[0].values == {"layers": 9, "reused": 9, "measured": 0}


def test_other_settings_measure_again(store):
    """Rows made under other settings of the same device are reused."""
    run(Counter(), store)
    backend = Counter(settings={"threads": 2})
    run(backend, store)
    assert len(backend.asked) == 9


def test_a_row_without_a_metric_that_the_device_has_now_is_measured_again(store):
    """A backend gains a metric; old rows would lack it, and the search would fail on them."""
    old = Counter()
    rows = {la.key: {"latency": old.costs(la)["latency"]} for la in PRICED[:4]}
    store.save(described(old), rows)
    backend = Counter()
    table, _ = run(backend, store)
    assert len(backend.asked) == 9
    assert all(set(row) == {"latency", "cycles"} for row in table.rows.values())


def test_an_interrupted_profile_goes_on_where_it_stopped(store):
    """Ctrl-C throws away what was measured."""
    with pytest.raises(KeyboardInterrupt):
        run(Counter(stop_at=5), store)
    backend = Counter()
    table, events = run(backend, store)
    assert backend.asked == [la.key for la in PRICED[5:]]
    assert (events[0].done, events[0].total) == (5, 9)
    assert list(table.rows) == [la.key for la in PRICED]


def test_a_fresh_profile_replaces_what_is_stored(store):
    """A model of an installed package was changed, and its old rows are there for good."""
    run(Counter(), store)
    backend = Counter(costs=GOOD)
    table, _ = run(backend, store, fresh=True)
    assert len(backend.asked) == 9
    assert {row["cycles"].median for row in table.rows.values()} == {1.0}
    again, _ = run(Counter(), store)
    assert again == table


def test_an_interrupted_fresh_profile_leaves_no_old_rows(store):
    """Going on without ``fresh`` would mix rows of the old formulas with rows of the new ones."""
    run(Counter(), store)
    with pytest.raises(KeyboardInterrupt):
        run(Counter(costs=GOOD, stop_at=4), store, fresh=True)
    backend = Counter(costs=GOOD)
    table, _ = run(backend, store)
    assert backend.asked == [la.key for la in PRICED[4:]]
    assert {row["cycles"].median for row in table.rows.values()} == {1.0}


def test_a_fresh_profile_forgets_this_space_and_its_calibration_only(store):
    """Layers of other spaces, measured in hours, go with it; or a line that was fitted to the old rows is applied."""
    info = described(Counter())
    run(Counter(), store)
    store.save(info, {"conv2d-of-another-space": GOOD}, 0)
    store.save_calibration(info, {"two-layers 3x6x6": {"latency": [2.0, 0.0]}, "other 3x6x6": {"latency": [3.0, 0.0]}})
    table, _ = run(Counter(), store, fresh=True)
    assert table.calibration == {}
    assert store.load_calibration(info) == {"other 3x6x6": {"latency": [3.0, 0.0]}}
    assert store.load(info)["conv2d-of-another-space"] == {0: GOOD}


def test_a_plan_of_a_fresh_profile_forgets_nothing(store):
    """`--fresh --dry-run` deletes what it should only tell of."""
    run(Counter(), store)
    todo = plan(Counter(), SPACE, SHAPE, N_WAY, store=store, fresh=True)
    assert len(todo.missing[0]) == 9
    assert len(store.load(todo.info)) == 9


def test_a_slow_device_is_saved_row_by_row_and_a_fast_one_at_once(store, monkeypatch):
    """A kill loses minutes of measuring on a slow board; or each of 500 analytic rows waits for the disk."""
    monkeypatch.setattr(measuring, "SAVE_EVERY_S", 0.005)
    _, events = run(Counter(delay_s=0.006), store)
    assert [e.done for e in events if e.kind == "step"] == list(range(1, 10))
    monkeypatch.setattr(measuring, "SAVE_EVERY_S", 30.0)
    _, events = run(Counter(settings={"fast": True}), store)
    assert [e.done for e in events if e.kind == "step"] == [9]


def test_rows_are_on_the_disk_while_later_ones_are_measured(tmp_path, store, monkeypatch):
    """Rows are only written at the end: a kill, which no ``finally`` sees, loses them all."""
    monkeypatch.setattr(measuring, "SAVE_EVERY_S", 0.0)
    seen = []

    class Watching(Counter):
        def costs(self, layer):
            with CostStore(tmp_path / "costs.sqlite3") as other:
                seen.append(len(other.load(described(self))))
            return super().costs(layer)

    run(Watching(), store)
    assert seen == list(range(9))


def test_tells_what_it_does(monkeypatch):
    """The terminal and ``metrics.jsonl`` show no progress, or a wrong total."""
    monkeypatch.setattr(measuring, "SAVE_EVERY_S", 30.0)
    _, events = run(Counter())
    assert {e.phase for e in events} == {"profile"}
    assert [(e.kind, e.done, e.total) for e in events] == [("start", 0, 9), ("step", 9, 9), ("end", 9, 9)]
    assert events[0].text == "Counter"
    assert events[-1].values["check"] == {"rows": 9, "in order": True}


def test_a_fault_in_check_table_names_the_backend():
    class Unchecked(Counter):
        def check_table(self, table, layers):
            return {"first": table["no such layer"]}

    with pytest.raises(PluginError, match=r"counter failed in check_table\(\): KeyError: 'no such layer'"):
        run(Unchecked())


def test_a_wrong_table_stops_the_phase():
    """A table that its own backend found wrong is used for a search."""
    with pytest.raises(DeviceError, match="row 3 is wrong"):
        run(Counter(checked="row 3 is wrong"))


@pytest.mark.parametrize(
    ("costs", "message"),
    [
        (GOOD | {"latency": Measurement(median=float("nan"), unit="ms")}, "latency = nan"),
        (GOOD | {"latency": Measurement(median=-1.0, unit="ms")}, r"latency = -1\.0"),
        (GOOD | {"latency": Measurement(median=1.0, unit="s")}, "latency = 1.0 's' .* in 'ms'"),
        ({"latency": GOOD["latency"]}, "no 'cycles'"),
        (GOOD | {"latency": 0.5}, r"counter gave latency = 0\.5 for .*; expected a hnas\.Measurement"),
        (0.5, r"counter gave 0\.5 for .*; expected a mapping, {'latency': hnas\.Measurement"),
        ([0.5], r"counter gave \[0\.5\] for .*; expected a mapping"),
    ],
)
def test_nonsense_from_a_device_is_refused_by_layer_and_not_saved(costs, message, store):
    """A broken measurement is cached and misleads every later search on this machine."""
    backend = Counter(costs=costs)
    with pytest.raises(DeviceError, match=message) as error:
        run(backend, store)
    assert PRICED[0].key in str(error.value)
    assert store.load(described(backend)) == {}


@pytest.mark.parametrize(
    ("change", "message"), [(-1, "8 of 9 layers and stopped before"), (1, "more costs than the 9")]
)
def test_a_backend_that_loses_step_is_refused(change, message):
    """With one answer too few or too many every later row would belong to another layer."""

    class OutOfStep(Counter):
        def measure(self, layers):
            yield from super().measure(layers[:change] if change < 0 else [*layers, layers[0]])

    with pytest.raises(DeviceError, match=message):
        run(OutOfStep())


@pytest.mark.parametrize("eager", [False, True], ids=["yields", "returns"])
def test_an_exception_of_the_backend_names_it_and_the_layer(eager, store):
    """'unexpected AttributeError' of a plugin reads like a fault of hnas, and no one knows at which layer."""

    class Mistyped(Counter):
        def costs(self, layer):
            return super().costs(layer) if layer.kernel == 1 else layer.kernle

        def measure(self, layers):
            return list(super().measure(layers)) if eager else super().measure(layers)

    with pytest.raises(PluginError, match=r"AttributeError: .*'kernle'") as error:
        run(Mistyped(), store)
    second = next(la for la in PRICED if la.kernel == 3)
    where = "in measure()" if eager else f"at the layer {second.key}"
    assert f"the backend counter failed {where}: " in str(error.value)
    assert "--debug" in error.value.hint
    assert isinstance(error.value.__cause__, AttributeError)
    assert len(store.load(described(Mistyped()))) == (0 if eager else PRICED.index(second))


def test_profile_json_is_what_the_command_prints():
    """Scripts that read ``hnas profile --json`` break: names, units and whole numbers are a promise."""
    table, _ = run(Counter())
    data = json.loads(json.dumps(profile_json(table, SPACE, SHAPE, N_WAY)))
    assert len(data["layers"]) == 9  # norm and relu are free here
    first = PRICED[0]
    assert data["layers"][0] == {
        "layer": {
            "op": "conv2d",
            "in_shape": [3, 6, 6],
            "out_shape": [4, 6, 6],
            "kernel": 1,
            "stride": 1,
            "padding": 0,
            "groups": 1,
            "bias": True,
        },
        "key": first.key,
        "latency_ms": first.macs * 1e-6,
        "cycles": first.macs,
    }
    assert isinstance(data["layers"][0]["cycles"], int)
    assert data["backend"] == "counter"
    assert data["fingerprint"] == table.info.fingerprint
    large = SPACE.layers(SPACE.reference("large"), SHAPE, N_WAY)
    macs = sum(la.macs for la in large)
    assert data["references"]["large"] == {
        "latency_ms": pytest.approx(macs * 1e-6),
        "cycles": macs,
        "params": sum(la.params for la in large),
        "macs": macs,
    }
    assert data["check"] == {"rows": 9, "in order": True}


def test_profile_json_refuses_a_table_that_lacks_a_layer():
    """A layer would be left out of the print without a word."""
    table, _ = run(Counter())
    rows = {key: row for key, row in table.rows.items() if key != PRICED[2].key}
    with pytest.raises(DeviceError, match=PRICED[2].key):
        profile_json(attrs.evolve(table, rows=rows), SPACE, SHAPE, N_WAY)
