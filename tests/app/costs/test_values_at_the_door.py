"""A value of a backend that cannot be is refused at the door, by the backend's name; the cost store stays as it is."""

from __future__ import annotations

import json
import sqlite3
from fractions import Fraction

import attrs
import numpy as np
import pytest

from hnas import (
    DataError,
    DeviceError,
    DeviceInfo,
    HardwareBackend,
    HnasError,
    Measurement,
    Metric,
    PluginError,
    Rounds,
)
from hnas.cost import check_costs
from hnas.layer import Layer
from hnas.toolkit import table_file
from hnas.toolkit.codec import save, to_json
from hnas.toolkit.table_file import TableFile
from hnas_app.costs.checked_info import check_calibration
from hnas_app.costs.description import described
from hnas_app.costs.profile import profile
from hnas_app.costs.store import CostStore

LAYER = Layer(op="relu", in_shape=(1, 4, 4), out_shape=(1, 4, 4))
INFO = DeviceInfo(backend="bad", device="d", runtime="1", metrics=(Metric(name="latency", unit="ms"),))


class Bad(HardwareBackend):
    """A backend that yields what it is told to; a whole network, if it is asked for one, from ``network``."""

    def __init__(self, made=None, *, info=INFO, network=None, check=None):
        self.made, self.info, self.network, self.check = made or {"median": 1.0}, info, network, check or {}

    def describe(self):
        return self.info

    def measure(self, layers):
        for _ in layers:
            yield {"latency": Measurement(unit="ms", **self.made), "other": Measurement(median=float("nan"))}

    def measure_network(self, layers):
        return {"latency": Measurement(unit="ms", **self.network)}

    def check_table(self, table, layers):
        return self.check


def profiled(backend, tiny_space, store, **options):
    return profile(backend, tiny_space, (3, 8, 8), 5, store=store, emit=lambda event: None, **options)


@pytest.fixture
def store(tmp_path):
    with CostStore(tmp_path / "costs.sqlite3") as made:
        yield made


NAN, INF = float("nan"), float("inf")
WRONG = [
    {"median": m} for m in (NAN, INF, -INF, -1.0, 1e30, 10**30, 10**400, True, np.True_, "1", "٣", "²", None, [1.0], 1j)
] + [
    {"median": 1.0, **more}
    for more in (
        *({"mad": m} for m in (NAN, INF, -1, 1e30, True, "1", None)),
        *({"n": n} for n in (NAN, INF, -5, 0, 2.5, 10**30, True, "1", None)),
        *({"samples": s} for s in ((NAN,), (1.0, -1.0), (INF,), (True,), "12", ("1",), 5)),
        {"unit": "s"},
        {"unit": None},
    )
]


@pytest.mark.parametrize("made", WRONG, ids=str)
def test_a_wrong_value_names_the_backend_and_the_layer(made, tiny_space, store):
    """``mad=nan`` said that the cost store was damaged, and advised to move it away."""

    class Unit(Bad):
        def measure(self, layers):
            for _ in layers:
                yield {"latency": Measurement(**{"unit": "ms", **made})}

    with pytest.raises((DeviceError, PluginError), match=r"\bbad\b.*(gave|failed at the layer)") as caught:
        profiled(Unit(), tiny_space, store)
    said = str(caught.value) + str(caught.value.hint)
    assert "-k1s1p0" in said or "-k3s1p1" in said or "-k" in said
    assert "move" not in said
    assert "damaged" not in said
    assert store.load(described(Unit())) == {}


@pytest.mark.parametrize("network", [{"median": NAN}, {"median": 1.0, "mad": NAN}, {"median": 1.0, "n": -5}])
def test_a_wrong_value_of_a_whole_network_names_the_backend(network, tiny_space, store):
    with pytest.raises(DeviceError, match=r"bad gave .* for network-"):
        profiled(Bad(network=network), tiny_space, store, verify=2)


def test_numbers_of_numpy_and_fractions_are_taken_and_kept(tiny_space, store):
    made = {"median": np.float32(0.5), "mad": np.array(0.25), "n": np.int64(3), "samples": np.ones(3, np.float16)}
    table = profiled(Bad(made), tiny_space, store)
    row = next(iter(table.rows.values()))["latency"]
    assert (row.median, row.mad, row.n, row.samples) == (0.5, 0.25, 3, (1.0, 1.0, 1.0))
    assert [type(x) for x in (row.median, row.mad, row.n, row.samples[0])] == [float, float, int, float]
    assert Measurement(median=Fraction(1, 2), n=3.0).n == 3
    kept = store.load(table.info)
    assert {key: rounds[0] for key, rounds in kept.items()} == table.rows


def test_a_metric_that_is_not_declared_is_not_kept(tiny_space, store):
    """It could be anything: nobody checks it."""
    table = profiled(Bad(), tiny_space, store)
    assert {name for rounds in store.load(table.info).values() for name in rounds[0]} == {"latency"}


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("backend", ""),
        ("device", None),
        ("runtime", 5),
        ("metrics", ()),
        ("metrics", ("latency",)),
        ("metrics", (Metric(name="params"),)),
        ("metrics", (Metric(name="a"), Metric(name="a"))),
        ("metrics", (Metric(name=5),)),
        ("ops", "conv2d"),
        ("ops", frozenset({1})),
        ("free", "norm"),
        ("free", frozenset({1})),
        ("free", frozenset({"norm"})),  # which is priced as well, since there are no `ops`
        ("settings", {"clock": NAN}),
        ("settings", {"clock": INF}),
        ("settings", {"clock": print}),
        ("settings", {"clock": {1, 2}}),
        ("settings", ["clock"]),
        ("conditions", {"load": np.float32(NAN)}),
        ("rounds", 3),
        *(("rounds", Rounds(**r)) for r in (
            {"count": 0}, {"count": -1}, {"count": 2.5}, {"count": True}, {"count": 10**30}, {"count": "3"},
            {"anchor_every": -1}, {"anchor_tolerance": NAN}, {"anchor_tolerance": INF}, {"attempts": 0},
            {"cooling_s": INF}, {"cooling_s": -1.0}, {"layer_s": NAN}, {"layer_s": 1e30},
        )),
    ],
    ids=str,
)  # fmt: skip
def test_a_wrong_description_names_the_backend_and_the_field(field, value):
    with pytest.raises(PluginError, match=rf"describe\(\) of the backend Bad gave {field}"):
        described(Bad(info=attrs.evolve(INFO, **{field: value})))


def test_a_description_with_numbers_of_numpy_is_the_same_with_pythons():
    info = attrs.evolve(
        INFO,
        settings={"a": np.int64(3), "b": [np.float64(0.5)], "c": {"d": np.bool_(True)}},
        rounds=Rounds(count=np.int64(2), layer_s=np.float32(0.5)),
    )
    found = described(Bad(info=info))
    assert (found.rounds.count, found.rounds.layer_s) == (2, 0.5)
    json.dumps(to_json(found))
    found.fingerprint  # noqa: B018 - raised TypeError


@pytest.mark.parametrize("check", [{"ratio": NAN}, {"table": print}, [1]], ids=str)
def test_a_wrong_check_of_a_table_names_the_backend(check, tiny_space):
    with pytest.raises(PluginError, match=r"check_table\(\) of the backend bad gave"):
        profiled(Bad(check=check), tiny_space, None)


@pytest.mark.parametrize(
    "calibration",
    [{"x": {"latency": v}} for v in ([NAN, 0], ["٣", 0], [1], 5, [1, True], {"a": 1})] + [{"x": 5}, 5, [1]],
    ids=str,
)
def test_a_wrong_calibration_of_a_file_is_refused(calibration, tmp_path):
    right = TableFile(info=INFO, rows={}, calibration={"x": {"latency": [1.5, 0.0]}})
    check_calibration(right.calibration, tmp_path)
    with pytest.raises(DataError, match=r"t\.json is damaged or was edited: its calibration has"):
        check_calibration(calibration, tmp_path / "t.json")


@pytest.mark.parametrize("round", ["٣", "²", "-1", "1.0", "x"])
def test_rounds_in_a_file_are_digits(round, tmp_path):
    costs = {"latency": Measurement(median=1.0, unit="ms")}
    save(tmp_path / "t.json", TableFile(info=INFO, rows={LAYER.key: {0: costs}}, calibration={}))
    content = json.loads((tmp_path / "t.json").read_text())
    content["rows"][LAYER.key] = {round: content["rows"][LAYER.key]["0"]}
    (tmp_path / "t.json").write_text(json.dumps(content))
    with pytest.raises(DataError, match=r"t\.json"):
        table_file.read(tmp_path / "t.json")


def test_a_value_that_the_store_cannot_hold_is_not_called_damage(store):
    """Whoever moves the store away loses hours of measurements for nothing."""
    wrong = Measurement(median=1.0, unit="ms")
    object.__setattr__(wrong, "mad", NAN)
    with pytest.raises(DataError, match="cannot hold a value") as caught:
        store.save(INFO, {LAYER.key: {"latency": wrong}})
    assert "the store is whole" in str(caught.value.hint)


def test_damage_is_still_called_damage(tmp_path):
    (tmp_path / "costs.sqlite3").write_bytes(b"SQLite format 3\0" + b"x" * 5000)
    with pytest.raises(DataError, match="is damaged") as caught:
        CostStore(tmp_path / "costs.sqlite3")
    assert isinstance(caught.value.__cause__, sqlite3.Error)
    assert "move it away" in str(caught.value.hint)


def test_what_is_checked_is_an_error_of_hnas():
    with pytest.raises(HnasError, match="bad gave the deviation of latency = nan 'ms' for relu-1x4x4"):
        check_costs(INFO, LAYER.key, {"latency": Measurement(median=1.0, mad=NAN, unit="ms")})
