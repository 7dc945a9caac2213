"""The Eyeriss backend: its options, its two engines, and the cross-check of a table."""

import subprocess
import sys
import time

import attrs
import pytest

from hnas import ConfigError, DeviceError, Layer, Registry
from hnas_backends.eyeriss import Eyeriss, EyerissOptions
from hnas_backends.eyeriss.options import DATAFLOWS


def conv(c_in, size, c_out, kernel):
    out = -(-size // 2)
    return Layer(
        op="conv2d",
        in_shape=(c_in, size, size),
        out_shape=(c_out, out, out),
        kernel=kernel,
        stride=2,
        padding=kernel // 2,
        bias=True,
    )


def vgg9_layers(channels, size):
    """The 462 distinct convolutions of VGG9 (Table 7: kernels 1, 3, 5; seven widths; stride 2) and its classifiers."""
    widths, layers = [16, 32, 48, 64, 96, 128, 144], []
    inputs = [channels]
    for _ in range(4):
        layers += [conv(a, size, b, k) for a in inputs for b in widths for k in (1, 3, 5)]
        inputs, size = widths, -(-size // 2)
    return layers + [Layer(op="linear", in_shape=(w, 1, 1), out_shape=(5, 1, 1), bias=True) for w in widths]


VGG9_28 = vgg9_layers(1, 28)
FEW = [conv(1, 7, 8, 1), conv(8, 7, 16, 3), Layer(op="linear", in_shape=(32, 1, 1), out_shape=(5, 1, 1), bias=True)]


def table_of(backend, layers):
    return {layer.key: costs for layer, costs in zip(layers, backend.measure(layers), strict=True)}


def test_the_whole_vgg9_table_takes_less_than_50_ms():
    """Pricing became slow; a profile of the default space must feel immediate."""
    layers, backend = vgg9_layers(3, 84), Eyeriss(EyerissOptions())
    assert sum(la.op == "conv2d" for la in layers) == 462
    taken = []
    for _ in range(5):
        begun = time.perf_counter()
        costs = list(backend.measure(layers))
        taken.append(time.perf_counter() - begun)
    assert len(costs) == len(layers)
    assert min(taken) < 0.05  # about 2 ms here


def test_latency_is_cycles_at_the_clock():
    """A wrong unit: everything that compares with a limit in ms would be off by powers of ten."""
    (costs,) = Eyeriss(EyerissOptions()).measure([conv(3, 84, 16, 3)])
    # 42*42 outputs, K = 27, M = 16 on 12 x 14: 3 * 2 folds of 1764 + 24 + 14 - 2 cycles, less one.
    assert costs["cycles"].median == 3 * 2 * 1800 - 1
    assert costs["latency"].median == pytest.approx(10799 / 200e6 * 1e3)
    assert costs["latency"].unit == "ms"
    (slower,) = Eyeriss(EyerissOptions(clock_mhz=100)).measure([conv(3, 84, 16, 3)])
    assert slower["latency"].median == pytest.approx(2 * costs["latency"].median)


def test_declares_latency_first_then_cycles():
    """Default limits apply to the first metric; a change of order would silently limit cycles instead."""
    info = Eyeriss(EyerissOptions()).describe()
    assert [m.column for m in info.metrics] == ["latency_ms", "cycles"]
    assert info.ops == {"conv2d", "linear"}


@pytest.mark.parametrize(
    "change", [{"dataflow": "os"}, {"rows": 13}, {"cols": 13}, {"clock_mhz": 100.0}, {"engine": "scalesim"}]
)
def test_whatever_changes_a_measurement_changes_the_fingerprint(change):
    """Rows of another configuration would be reused from the cache."""
    assert Eyeriss(EyerissOptions(**change)).describe().fingerprint != Eyeriss(EyerissOptions()).describe().fingerprint


def test_sram_sizes_matter_to_the_simulator_only():
    """The closed form has no memory: its rows must be found again whatever the sizes; the simulator's must not."""

    def fingerprint(**options):
        return Eyeriss(EyerissOptions(**options)).describe().fingerprint

    assert fingerprint(ifmap_sram_kb=72) == fingerprint()
    assert fingerprint(engine="scalesim", ifmap_sram_kb=72) != fingerprint(engine="scalesim")


@pytest.mark.parametrize("dataflow", ["rs", "WS", "row-stationary", ""])
def test_a_wrong_dataflow_is_refused_by_name(dataflow):
    """ScaleSim would run output-stationary for it and never say so."""
    with pytest.raises(ConfigError) as error:
        EyerissOptions(dataflow=dataflow)
    assert repr(dataflow) in str(error.value)
    assert "silently run 'os'" in str(error.value)
    assert "'ws' (weight-stationary)" in error.value.hint


@pytest.mark.parametrize("wrong", [{"rows": 0}, {"clock_mhz": 0.0}, {"check_layers": -1}, {"engine": "exact"}])
def test_other_wrong_options_are_refused(wrong):
    """A zero would divide, another engine would run the default one."""
    with pytest.raises(ValueError, match=next(iter(wrong))):
        EyerissOptions(**wrong)


@pytest.mark.parametrize("dataflow", DATAFLOWS)
def test_both_engines_give_the_same_table(dataflow):
    """engine=scalesim runs something else than the simulator, or the closed form is wrong."""
    options = EyerissOptions(dataflow=dataflow)
    simulator = Eyeriss(attrs.evolve(options, engine="scalesim"))
    assert table_of(simulator, FEW) == table_of(Eyeriss(options), FEW)


def test_the_network_costs_the_sum_of_its_layers():
    """Free layers are priced or refused, or the sum is not the network's."""
    backend = Eyeriss(EyerissOptions())
    rows = table_of(backend, FEW)
    relu = Layer(op="relu", in_shape=(8, 4, 4), out_shape=(8, 4, 4))
    network = backend.measure_network([FEW[0], relu, FEW[1], FEW[2]])
    assert network["cycles"].median == sum(r["cycles"].median for r in rows.values())
    assert network["latency"].median == pytest.approx(sum(r["latency"].median for r in rows.values()))


def test_a_right_table_passes_the_check_and_says_so():
    """The check was skipped, or its record does not say against what it was made."""
    import importlib.metadata

    backend = Eyeriss(EyerissOptions())
    record = backend.check_table(table_of(backend, VGG9_28), VGG9_28)
    assert record == {
        "engine": "closed-form",
        "layers_checked": 12,
        "mismatches": 0,
        "against": "ScaleSim's compute model",
        "scalesim_version": importlib.metadata.version("scalesim"),
    }


def test_a_wrong_row_fails_the_check_by_name():
    """One wrong row of a table passes unseen, or the error does not say which and by how much."""
    backend = Eyeriss(EyerissOptions(check_layers=len(FEW)))
    table = table_of(backend, FEW)
    right = table[FEW[1].key]["cycles"].median
    table[FEW[1].key] = table[FEW[1].key] | {"cycles": attrs.evolve(table[FEW[1].key]["cycles"], median=right + 1)}
    with pytest.raises(DeviceError) as error:
        backend.check_table(table, FEW)
    for part in (FEW[1].key, f"{right + 1:.0f} cycles", f"gives {right:.0f}"):
        assert part in str(error.value)


def test_the_sample_is_always_the_same_and_spread_over_sizes():
    """A sample that depends on the order of the layers, or holds only small or only large ones."""
    backend = Eyeriss(EyerissOptions(check_layers=8))
    sample = backend._sample(VGG9_28)
    assert sample == backend._sample(VGG9_28[::-1])
    assert len({la.key for la in sample}) == 8
    costs, everything = [table_of(backend, la).values() for la in (sample, VGG9_28)]
    sizes, sorted_all = [sorted(c["cycles"].median for c in cs) for cs in (costs, everything)]
    assert sizes[0] == sorted_all[0]
    assert sorted_all[len(sorted_all) // 2] < sizes[-1] < sorted_all[-1]
    assert sizes[4] < sorted_all[len(sorted_all) // 2], "small layers are cheap to check: most of them should be small"


def test_more_checks_than_layers_checks_all():
    """A small table with a large check_layers repeats or drops layers."""
    assert sorted(Eyeriss(EyerissOptions(check_layers=100))._sample(FEW)) == sorted(FEW)


def test_pricing_needs_no_scalesim_and_the_check_can_be_turned_off():
    """Importing or using the closed form loads the simulator for nothing."""
    code = """
import sys
from hnas import Layer
from hnas_backends.eyeriss import Eyeriss, EyerissOptions
layer = Layer(op="linear", in_shape=(32, 1, 1), out_shape=(5, 1, 1))
backend = Eyeriss(EyerissOptions(check_layers=0))
table = {layer.key: next(backend.measure([layer]))}
assert backend.check_table(table, [layer]) == {"engine": "closed-form", "layers_checked": 0, "mismatches": 0}
backend.describe()
assert not [m for m in sys.modules if m.startswith("scalesim")]
"""
    subprocess.run([sys.executable, "-c", code], check=True)


def test_is_registered_and_made_by_name():
    """The entry point names a class that is not there."""
    backend = Registry(third_party=False).create("backend", "eyeriss")
    assert backend.describe().backend == "eyeriss"
