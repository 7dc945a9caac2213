"""The cost table: what a network costs, and its JSON."""

import json
import time

import attrs
import pytest

from hnas import DataError, DeviceError, DeviceInfo, Layer, Measurement, Metric
from hnas.cost import CostTable, priced
from hnas.toolkit.codec import from_json, to_json

CONV = Layer(op="conv2d", in_shape=(3, 8, 8), out_shape=(16, 4, 4), kernel=3, stride=2, padding=1, bias=True)
CONV2 = Layer(op="conv2d", in_shape=(16, 4, 4), out_shape=(8, 4, 4), kernel=1, bias=True)
NORM = Layer(op="norm", in_shape=(16, 4, 4), out_shape=(16, 4, 4))
RELU = Layer(op="relu", in_shape=(16, 4, 4), out_shape=(16, 4, 4))
FC = Layer(op="linear", in_shape=(8, 1, 1), out_shape=(5, 1, 1), bias=True)
NETWORK = [CONV, NORM, RELU, CONV2, FC]

INFO = DeviceInfo(
    backend="board",
    device="A board",
    runtime="1.0",
    metrics=(Metric(name="latency", unit="ms"), Metric(name="peak", unit="B", combine="max", help="memory")),
    settings={"threads": 2, "sram": [1, 2]},
    ops=frozenset({"conv2d", "linear"}),
)
VALUES = {CONV.key: (1.5, 4096.0), CONV2.key: (0.25, 9000.0), FC.key: (0.125, 100.0)}


def measured(latency, peak):
    return {"latency": Measurement(median=latency, mad=0.1, n=7, unit="ms"), "peak": Measurement(median=peak, unit="B")}


TABLE = CostTable(info=INFO, rows={k: measured(*v) for k, v in VALUES.items()}, check={"mismatches": 0})


def test_sums_and_maxima_over_the_layers():
    """A metric is combined by the wrong rule, or free operations are charged, or their parameters forgotten."""
    cost = TABLE.cost(NETWORK)
    assert cost["latency"] == 1.5 + 0.25 + 0.125
    assert cost["peak"] == 9000.0
    # By hand: 27*16+16, gamma and beta 2*16, 16*8+8, 8*5+5; multiplications 27*16*16, 16*8*16, 8*5.
    assert cost["params"] == 448 + 32 + 136 + 45
    assert cost["macs"] == 6912 + 2048 + 40
    assert list(cost.values) == [m.name for m in TABLE.metrics] == ["latency", "peak", "params", "macs"]


def test_a_layer_that_occurs_twice_counts_twice():
    """Layers are remembered between calls; a network must not be treated as a set of them."""
    assert TABLE.cost([CONV2, CONV2])["latency"] == 0.5
    assert TABLE.cost([CONV2, CONV2])["params"] == 2 * CONV2.params
    assert TABLE.cost(iter(NETWORK)) == TABLE.cost(NETWORK)


def test_nothing_costs_nothing():
    """The empty network fails rather than costing zero."""
    assert set(TABLE.cost([]).values.values()) == {0.0}


def test_every_operation_needs_a_row_where_the_device_names_none_as_free():
    """``ops=None`` means all: an unmeasured layer would silently be free."""
    table = attrs.evolve(TABLE, info=attrs.evolve(INFO, ops=None))
    with pytest.raises(DeviceError, match=NORM.key):
        table.cost(NETWORK)


OWN = Layer(op="attention", in_shape=(16, 4, 4), out_shape=(16, 4, 4), counts=(96, 5000))
JOIN = Layer(op="concat", in_shape=(32, 4, 4), out_shape=(32, 4, 4))


@pytest.mark.parametrize("layer", [OWN, JOIN])
@pytest.mark.parametrize("ops", [frozenset({"conv2d", "linear"}), frozenset({"relu"})])
def test_what_is_neither_priced_nor_free_is_refused_by_name(layer, ops):
    """It would cost nothing in every table: an operation of others, or one newer than the device's description."""
    info = attrs.evolve(INFO, ops=ops)
    with pytest.raises(DeviceError, match=f"board neither prices '{layer.op}' .*{layer.key}.* free; it prices") as told:
        priced(info, layer)
    assert "`free`" in told.value.hint
    with pytest.raises(DeviceError, match=layer.key):
        attrs.evolve(TABLE, info=info).cost([layer])
    assert priced(attrs.evolve(info, ops=ops | {layer.op}), layer)
    assert not priced(attrs.evolve(info, free=frozenset({layer.op})), layer)


def test_a_device_without_a_list_prices_all_that_hnas_knows_and_no_more():
    info = attrs.evolve(INFO, ops=None)
    assert priced(info, JOIN)
    with pytest.raises(DeviceError, match=OWN.key):
        priced(info, OWN)


def test_what_is_declared_free_replaces_what_is_left_out():
    info = attrs.evolve(INFO, free=frozenset({"norm"}))
    assert not priced(info, NORM)
    with pytest.raises(DeviceError, match=RELU.key):
        priced(info, RELU)


def test_an_operation_of_others_counts_what_its_layer_states():
    info = attrs.evolve(INFO, free=frozenset({"attention"}))
    cost = attrs.evolve(TABLE, info=info).cost([OWN])
    assert (cost["latency"], cost["params"], cost["macs"]) == (0, 96, 5000)


def test_a_description_that_is_older_than_what_is_free_is_read():
    """Tables of before have no such field, and their free operations are those that they leave out."""
    old = to_json(TABLE)
    assert "free" not in old["info"]
    assert read(old).cost(NETWORK) == TABLE.cost(NETWORK)
    newer = attrs.evolve(TABLE, info=attrs.evolve(INFO, free=frozenset({"norm", "relu"})))
    assert read(json.loads(json.dumps(to_json(newer)))) == newer
    assert newer.info.fingerprint == INFO.fingerprint


def test_a_missing_row_names_the_layer_and_what_to_run():
    """A layer that was never measured is priced at zero, or the error does not say which it is."""
    other = Layer(op="conv2d", in_shape=(3, 9, 9), out_shape=(16, 5, 5), kernel=3, stride=2, padding=1)
    for _ in range(2):  # also the second time, when the layer has been seen
        with pytest.raises(DeviceError) as error:
            TABLE.cost([CONV, other])
        assert other.key in str(error.value)
        assert "hnas profile" in error.value.hint


def test_is_fast_enough_for_a_search():
    """Called about 100,000 times in a search: 10 us for a network here; ten times that would be felt."""
    network = NETWORK * 3
    taken = []
    for _ in range(5):
        begun = time.perf_counter()
        for _ in range(500):
            TABLE.cost(network)
        taken.append((time.perf_counter() - begun) / 500 / len(network))
    assert min(taken) < 10e-6  # about 1 us a layer


def read(value):
    return from_json(value, CostTable, "the cost table")


def test_json_round_trip():
    """Something is lost on the way through ``run.json``; the fingerprint must stay the same too."""
    again = read(json.loads(json.dumps(to_json(TABLE))))
    assert again == TABLE
    assert again.info.fingerprint == INFO.fingerprint
    assert again.cost(NETWORK) == TABLE.cost(NETWORK)
    assert read(to_json(TABLE)) == TABLE


def damaged(**changes):
    return to_json(TABLE) | changes


@pytest.mark.parametrize(
    "value",
    [
        "{",
        [],
        None,
        {},
        damaged(rows={FC.key: {}}),
        damaged(rows={FC.key: {"latency": {"median": 1.0}}}),
        damaged(rows=[]),
        damaged(info={}),
        damaged(rows={FC.key: to_json(TABLE)["rows"][FC.key] | {"latency": {"median": "x", "mad": 0, "n": 1}}}),
        damaged(
            rows={
                FC.key: to_json(TABLE)["rows"][FC.key]
                | {"latency": {"median": float("nan"), "mad": 0, "n": 1, "unit": "ms"}}
            }
        ),
        damaged(info=to_json(TABLE)["info"] | {"metrics": [{"name": "latency", "unit": "ms", "combine": "mean"}]}),
    ],
)
def test_a_damaged_table_is_refused(value):
    """A table that was cut or edited fails later and elsewhere, or prices with nonsense."""
    with pytest.raises(DataError, match="cost table"):
        read(value)


def test_a_table_of_another_schema_is_refused():
    """A future format is read as if it were this one."""
    with pytest.raises(DataError, match="schema 99; this hnas reads 2"):
        read(damaged(schema=99))
