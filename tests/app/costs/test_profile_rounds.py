"""Phase 2 on a noisy device: shuffled rounds, anchors, blocks done again, and whole networks that prove the table."""

import hashlib
import re

import attrs
import numpy as np
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
    Rounds,
    SearchSpace,
    UnsteadyError,
)
from hnas.seeds import Seeds
from hnas.toolkit.dataflow import connects, dataflow
from hnas_app.costs.description import described
from hnas_app.costs.profile import network_key, plan, profile, random_networks
from hnas_app.costs.steadiness import is_unsteady, unsteady_layers
from hnas_app.costs.store import CostStore


class Convolutions(SearchSpace):
    """Two convolutions of ten widths each: 100 distinct layers, 100 networks."""

    name = "convolutions"
    choices = tuple(Choice(name=f"width{i}", options=tuple(range(1, 11))) for i in (1, 2))

    def layers(self, arch, input_shape, n_way):
        shape, layers = input_shape, []
        for gene in arch.genes:
            out = (gene + 1, *input_shape[1:])
            layers.append(Layer(op="conv2d", in_shape=shape, out_shape=out, kernel=3, padding=1))
            shape = out
        return layers

    def supernet(self, input_shape, n_way):
        raise AssertionError("profiling needs no network")


SPACE, SHAPE, N_WAY = Convolutions(), (3, 4, 4), 5
TRUE_MS = {layer.key: layer.macs * 1e-3 + 0.05 for layer in SPACE.distinct_layers(SHAPE, N_WAY)}
N = len(TRUE_MS)
THREE = Rounds(count=3)


class Board(HardwareBackend):
    """A device whose clock changes: ``speed(n)`` multiplies the time of its n-th measurement."""

    def __init__(self, *, rounds=THREE, speed=lambda n: 1.0, throttled=lambda n: False, stop_at=None):
        self.asked, self.networks, self._rounds = [], [], rounds
        self._speed, self._throttled, self._stop_at = speed, throttled, stop_at

    def describe(self):
        metrics = (Metric(name="latency", unit="ms"),)
        return DeviceInfo(backend="board", device="Board", runtime="1", metrics=metrics, rounds=self._rounds)

    def measure(self, layers):
        for layer in layers:
            n = len(self.asked)
            if n == self._stop_at:
                raise KeyboardInterrupt
            if self._throttled(n):
                self.asked.append(layer.key)
                raise UnsteadyError("throttled at 83 degrees")
            self.asked.append(layer.key)
            yield self._costs(TRUE_MS[layer.key] * self._speed(n))

    def measure_network(self, layers):
        self.networks.append(tuple(layers))
        return self._costs(1.25 * sum(TRUE_MS[layer.key] for layer in layers) + 0.5)

    def _costs(self, ms):
        return {"latency": Measurement.of([ms, 0.99 * ms, 1.01 * ms], "ms")}


def run(backend, store=None, **options):
    events, slept = [], []
    table = profile(backend, SPACE, SHAPE, N_WAY, store=store, emit=events.append, sleep=slept.append, **options)
    return table, events, slept


@pytest.fixture
def store(tmp_path):
    with CostStore(tmp_path / "costs.sqlite3") as opened:
        yield opened


def of_the_table(table):
    return {key: row["latency"].median for key, row in table.rows.items()}


def test_each_round_measures_every_layer_in_an_order_of_its_own():
    """Drift falls on the same layers in every round, so that the median cannot take it off."""
    backend = Board(rounds=Rounds(count=3, anchor_every=0))
    table, _, _ = run(backend)
    rounds = [backend.asked[i : i + N] for i in range(0, 3 * N, N)]
    assert [sorted(r) for r in rounds] == 3 * [sorted(TRUE_MS)]
    assert len({tuple(r) for r in rounds}) == 3
    assert of_the_table(table) == pytest.approx(TRUE_MS)
    again = Board(rounds=Rounds(count=3, anchor_every=0))
    run(again)
    assert again.asked == backend.asked, "the order comes from the seed alone"


def test_the_median_over_rounds_takes_off_one_bad_round():
    """One slow hour of a shared machine stays in the table."""
    table, _, _ = run(Board(rounds=Rounds(count=3, anchor_every=0), speed=lambda n: 1.7 if N <= n < 2 * N else 1.0))
    assert of_the_table(table) == pytest.approx(TRUE_MS)
    assert table.check["rounds"]["typical_spread"] == pytest.approx(0.7)


def test_a_block_whose_anchor_moved_is_measured_again_after_cooling(store):
    """The device slows down in mid-round, and 25 layers look twice as costly as they are."""
    backend = Board(rounds=Rounds(count=1, anchor_every=25, cooling_s=7), speed=lambda n: 2.0 if 40 <= n < 60 else 1.0)
    table, events, slept = run(backend, store)
    assert of_the_table(table) == pytest.approx(TRUE_MS)
    assert set(slept) == {7}
    assert table.check["rounds"]["blocks_repeated"] == len(slept) >= 1
    assert table.check["rounds"]["blocks_unsteady"] == 0
    assert next(e.text for e in events if e.kind == "note").startswith("the anchor layer went from ")
    assert {key: r[0]["latency"].median for key, r in store.load(table.info).items()} == of_the_table(table)


def test_a_device_that_never_settles_is_told_and_not_measured_for_ever():
    """An endless loop on a busy machine; or a table that hides that nothing was steady."""
    backend = Board(rounds=Rounds(count=1, anchor_every=25, attempts=2), speed=lambda n: 1.3 ** (n % 7))
    table, _, slept = run(backend)
    assert table.check["rounds"]["blocks_unsteady"] >= 1
    assert len(slept) <= 5
    assert len(table.rows) == N


def test_a_busy_device_is_told_of_in_three_lines_and_its_costs_are_marked():
    """A line for each of hundreds of blocks, and nothing of why, for how long, or what to do."""
    table, events, slept = run(Board(speed=lambda n: 1.5 ** (n % 3 + n % 5)))
    notes = [e.text for e in events if e.kind == "note"]
    assert len(slept) > 5
    assert len(notes) == 3
    assert re.search(
        r"3 blocks were measured again: this machine is busy, with a load of [\d.]+ on \d+ cores", notes[2]
    )
    assert "min more" in notes[2]
    assert "end what else runs" in notes[2]
    assert table.check["rounds"]["unsteady_layers"]
    elsewhere = type("Elsewhere", (Board,), {"slot": lambda self: "board"})(speed=lambda n: 1.5 ** (n % 3 + n % 5))
    assert "the device does other work" in [e.text for e in run(elsewhere)[1] if e.kind == "note"][2]


def test_the_count_of_what_is_measured_never_runs_backwards(store):
    _, events, slept = run(Board(speed=lambda n: 2.0 if 40 <= n < 60 else 1.0), store)
    counts = [e.done for e in events]
    assert slept
    assert counts == sorted(counts)
    assert counts[-1] == events[-1].total


def test_costs_are_unsteady_if_no_round_confirms_the_median():
    def rows(*values):
        return {"a": {i: {"latency": Measurement.of([v], "ms")} for i, v in enumerate(values)}}

    for steady in ((1.0, 1.0, 1.7), (1.0, 1.1, 1.7), (1.0, 1.05), (1.0,), (0.0, 0.0)):
        assert unsteady_layers(rows(*steady), "latency", THREE) == []
    for unsteady in ((1.0, 1.3, 1.7), (1.0, 1.5), (1.0, 1.3, 1.7, 2.1)):
        assert unsteady_layers(rows(*unsteady), "latency", THREE) == ["a"]
    assert unsteady_layers(rows(1.0), "latency", THREE, {"a"}) == ["a"]


def test_unsteady_costs_stay_marked_when_another_run_reads_them(store):
    marked = run(Board(speed=lambda n: 1.5 ** (n % 3 + n % 5)), store)[0].check["rounds"]["unsteady_layers"]
    table, _, _ = run(Board(), store)
    assert table.check["rounds"]["unsteady_layers"] == marked != []
    one = next(layer for layer in SPACE.distinct_layers(SHAPE, N_WAY) if layer.key == marked[0])
    assert is_unsteady(table, [one])
    assert not is_unsteady(run(Board())[0], [one])


def test_what_a_throttled_device_measured_is_discarded_and_done_again(store):
    """Rows measured at half the clock stay in the store."""
    table, _, slept = run(Board(throttled=lambda n: n == 30), store)
    assert of_the_table(table) == pytest.approx(TRUE_MS)
    assert len(slept) == 1


def test_a_device_that_stays_throttled_is_an_error_and_leaves_no_row_of_that_block(store):
    """Half-trusted rows are reused by the next profile."""
    backend = Board(throttled=lambda n: n >= 30)
    with pytest.raises(DeviceError, match="83 degrees"):
        run(backend, store)
    assert len(store.load(described(backend))) == 25


def test_an_interrupted_round_repeats_at_most_the_layer_in_hand(store):
    """A profile of hours on a slow board starts its round again after Ctrl-C."""
    for _ in range(4):
        with pytest.raises(KeyboardInterrupt):
            run(Board(stop_at=60), store)
    backend = Board()
    table, events, _ = run(backend, store)
    done = events[0].done
    assert done >= 4 * (60 - 4), "all but the anchors, at most four in sixty"
    (anchor,) = {key for key in backend.asked if backend.asked.count(key) > 3}
    asked = [key for key in backend.asked if key != anchor]
    assert 3 * N - done - 3 <= len(asked) <= 3 * N - done, "nothing that was known, but for the anchor"
    assert of_the_table(table) == pytest.approx(TRUE_MS)


def test_fewer_rounds_than_known_measure_nothing_and_more_only_what_is_missing(store):
    """Asking for a fourth round measures the three known ones again."""
    run(Board(rounds=Rounds(count=3, anchor_every=0)), store)
    fewer, more = (Board(rounds=Rounds(count=n, anchor_every=0)) for n in (2, 4))
    run(fewer, store)
    run(more, store)
    assert fewer.asked == []
    assert sorted(more.asked) == sorted(TRUE_MS)


def test_networks_are_measured_among_the_layers_and_compared_with_their_sums():
    """All layers first and all networks later: drift between the two looks like an error of the table."""
    backend = Board(rounds=Rounds(count=3, anchor_every=0))
    table, _, _ = run(backend, verify=12)
    found = table.check["verified"]
    assert len(backend.networks) == 3 * len(set(backend.networks))
    assert found["networks"] == len(set(backend.networks))
    assert found["metric"] == "latency_ms"
    truth, sums = np.array(found["measured"]), np.array(found["estimated"])
    assert truth == pytest.approx(1.25 * sums + 0.5)
    assert found["mape"] == pytest.approx(100 * np.mean(abs(sums / truth - 1)))
    assert found["tau"] == 1.0


def test_verifying_a_known_table_measures_only_networks(store):
    """Proving a table costs as much as making it."""
    run(Board(), store)
    backend = Board()
    run(backend, store, verify=5)
    assert set(backend.asked) == {plan(backend, SPACE, SHAPE, N_WAY, store=store).anchor.key}
    assert len(backend.networks) >= 12
    again = Board()
    run(again, store, verify=5)
    assert (again.asked, again.networks) == ([], [])


def test_a_calibration_holds_for_its_space_and_image_size_only(store):
    """A line fitted on one space changes the estimates of another."""

    class Sized(Board):
        def measure(self, layers):
            return (self._costs(layer.macs * 1e-3 + 0.05) for layer in layers)

    run(Board(), store)
    store.save_calibration(described(Board()), {"convolutions 3x4x4": {"latency": [1.25, 0.5]}})
    table, _, _ = run(Board(), store, verify=8)
    assert table.check["verified"]["calibrated"]["mape"] == pytest.approx(0, abs=1e-9)
    assert table.check["verified"]["mape"] > 10
    smaller = profile(Sized(), SPACE, (2, 4, 4), N_WAY, store=store, emit=lambda event: None, sleep=lambda s: None)
    assert smaller.calibration == {}


def test_a_backend_that_cannot_measure_networks_says_so():
    """`--verify` on a backend without it ends in a traceback, or reports an agreement of nothing."""

    class LayersOnly(Board):
        def measure_network(self, layers):
            return None

    with pytest.raises(DeviceError, match="cannot measure whole networks"):
        run(LayersOnly(), verify=2)


def test_layers_that_do_not_connect_are_the_cause_that_is_told():
    """A user would look for another backend, and the space is what has to change."""

    class Runs(Board):
        def measure_network(self, layers):
            return None if not connects(layers) else super().measure_network(layers)

    class Broken(Convolutions):
        def layers(self, arch, input_shape, n_way):
            return super().layers(arch, input_shape, n_way)[::-1]

    with pytest.raises(
        DeviceError, match=r"whose layers do not connect: layer 2 .*takes 3x4x4: the one before"
    ) as told:
        profile(Runs(rounds=None), Broken(), SHAPE, N_WAY, store=None, emit=lambda event: None, verify=2)
    assert "Layer.reads" in told.value.hint


def test_a_sum_of_one_term_is_refused_before_anything_is_measured():
    """A cell whose two inputs are one map, without places: a chain would be measured in its place."""

    class FirstCell(Convolutions):
        def layers(self, arch, input_shape, n_way):
            first, *_ = super().layers(arch, input_shape, n_way)
            shapes = {"in_shape": first.out_shape, "out_shape": first.out_shape}
            branch = [Layer(op=op, **shapes, **({"reads": self.places[op]} if self.places else {})) for op in OPS]
            return [first, *branch]

        places = None

    OPS = ("relu", "elu", "add")
    backend, space = Board(rounds=None), FirstCell()
    with pytest.raises(PluginError, match=r"FirstCell, in layers\(\): layer 4 of 4, add-.* adds nothing") as told:
        profile(backend, space, SHAPE, N_WAY, store=None, emit=lambda event: None, verify=2)
    assert "reads=(1, 3)" in told.value.hint
    assert backend.asked == []
    space.places = {"relu": (1,), "elu": (2,), "add": (1, 2)}
    (layers,) = random_networks(space, SHAPE, N_WAY, 1, Seeds(0)).values()
    assert dataflow(layers) == [(0,), (1,), (1,), (3, 2)]


def test_networks_of_the_same_layers_that_read_others_are_two_rows():
    """A network would get the time of another one, from the cost store."""
    shape = (4, 4, 4)
    relu, elu = (Layer(op=op, in_shape=shape, out_shape=shape) for op in ("relu", "elu"))
    chain, branches = (relu, elu, attrs.evolve(relu, reads=(1,))), (relu, elu, attrs.evolve(relu, reads=(2,)))
    assert len({network_key(n) for n in (chain, branches, (relu, elu, relu))}) == 3
    assert network_key((relu, elu)) == "network-" + hashlib.sha256(f"{relu.key}\n{elu.key}".encode()).hexdigest()[:20]


def test_a_plan_asks_the_device_for_nothing_and_knows_what_is_missing(store):
    """`--dry-run` measures; or tells a time for what is known already."""
    rounds = Rounds(count=3, layer_s=0.5)
    backend = Board(rounds=rounds)
    assert plan(backend, SPACE, SHAPE, N_WAY, store=store).expected_s == pytest.approx(0.5 * 3 * N)
    with pytest.raises(KeyboardInterrupt):
        run(Board(stop_at=80), store)
    found = plan(backend, SPACE, SHAPE, N_WAY, store=store, verify=4, seeds=Seeds(1))
    assert backend.asked == []
    known = sum(map(len, found.known.values()))
    assert known > 70
    assert found.expected_s == pytest.approx(0.5 * (3 * N - known + 3 * len(found.networks)))
    assert attrs.evolve(found, known={}).expected_s > found.expected_s
