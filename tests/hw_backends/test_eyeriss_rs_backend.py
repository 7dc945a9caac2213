"""The row-stationary backend: its options, its metrics, and which layers it takes."""

import subprocess
import sys
import time

import pytest

from hnas import Cost, DeviceError, Layer, PluginError
from hnas_app.costs.limits import Constraint, resolve
from hnas_backends.eyeriss_rs import EyerissRS, EyerissRSOptions


def conv(c_in, size, c_out, kernel, stride=2, groups=1, dilation=1):
    out = -(-size // stride)
    return Layer(
        op="conv2d",
        in_shape=(c_in, size, size),
        out_shape=(c_out, out, out),
        kernel=kernel,
        stride=stride,
        padding=dilation * (kernel // 2),
        groups=groups,
        dilation=dilation,
        bias=True,
    )


def vgg9_convolutions(channels, size):
    """The 462 distinct convolutions of VGG9 (Table 7: kernels 1, 3, 5; seven widths; stride 2)."""
    widths, layers = [16, 32, 48, 64, 96, 128, 144], []
    inputs = [channels]
    for _ in range(4):
        layers += [conv(a, size, b, k) for a in inputs for b in widths for k in (1, 3, 5)]
        inputs, size = widths, -(-size // 2)
    return layers


LINEAR = Layer(op="linear", in_shape=(32, 1, 1), out_shape=(5, 1, 1), bias=True)
FEW = [conv(3, 28, 16, 3), conv(16, 14, 32, 5), LINEAR]


def price(layer, **options):
    (costs,) = EyerissRS(EyerissRSOptions(**options)).measure([layer])
    return costs


def test_the_whole_vgg9_table_takes_seconds():
    """The search became slow: a profile of the default space must not be waited for."""
    layers = vgg9_convolutions(3, 84)
    assert len({la.key for la in layers}) == 462
    begun = time.process_time()
    costs = list(EyerissRS(EyerissRSOptions()).measure(layers))
    assert len(costs) == len(layers)
    assert time.process_time() - begun < 15  # about 2 s; room for a loaded machine
    assert all(c[metric].median > 0 for c in costs for metric in ("latency", "cycles", "energy"))


def test_declares_latency_first_and_energy_as_a_plain_count():
    """Default limits apply to the first metric; an energy in joules would claim what the model does not know."""
    info = EyerissRS(EyerissRSOptions()).describe()
    assert [m.column for m in info.metrics] == ["latency_ms", "cycles", "energy"]
    assert info.ops == {"conv2d", "linear"}
    assert info.rounds is None


def test_energy_can_be_limited_in_a_constraint():
    """The energy constraint that no ScaleSim run has: its unit must be one that constraints know."""
    (limit,) = resolve([Constraint.parse("energy<=50M")], EyerissRS(EyerissRSOptions()).describe().metrics, None)
    assert limit.value == 50e6
    assert limit.ratio(Cost(values={"energy": 100e6})) == 2


def test_latency_is_cycles_at_the_clock():
    """A wrong unit: everything that compares with a limit in ms would be off by powers of ten."""
    costs = price(FEW[0])
    assert costs["latency"].unit == "ms"
    assert costs["latency"].median == pytest.approx(costs["cycles"].median / 200e6 * 1e3)
    slower = price(FEW[0], clock_mhz=100, link_mhz=30)
    assert slower["latency"].median == pytest.approx(2 * costs["latency"].median)


@pytest.mark.parametrize(
    "change",
    [{"batch": 4}, {"minimise": "energy"}, {"dram": "overlapped"}, {"clock_mhz": 100.0}, {"link_mhz": 90.0}],
)
def test_whatever_changes_a_measurement_changes_the_fingerprint(change):
    """Rows of another configuration would be reused from the cache."""
    described = EyerissRS(EyerissRSOptions(**change)).describe()
    assert described.fingerprint != EyerissRS(EyerissRSOptions()).describe().fingerprint
    assert described.settings.items() >= change.items()


def test_the_links_clock_matters_only_where_dram_is_waited_for():
    """Overlapped traffic has no link: its rows must be found again whatever that clock."""
    one, other = (EyerissRS(EyerissRSOptions(dram="overlapped", link_mhz=mhz)).describe() for mhz in (60, 90))
    assert one.fingerprint == other.fingerprint
    layer = conv(64, 14, 64, 3)
    assert price(layer, dram="overlapped", link_mhz=60) == price(layer, dram="overlapped", link_mhz=90)
    assert price(layer, link_mhz=90)["cycles"].median < price(layer, link_mhz=60)["cycles"].median


@pytest.mark.parametrize("wrong", [{"batch": 0}, {"clock_mhz": 0.0}, {"minimise": "area"}, {"dram": "free"}])
def test_wrong_options_are_refused(wrong):
    """A zero would divide, an unknown word would run something else."""
    with pytest.raises(ValueError, match=next(iter(wrong))):
        EyerissRSOptions(**wrong)


def test_the_network_costs_the_sum_of_its_layers():
    """Free layers are priced or refused, or the sum is not the network's."""
    backend = EyerissRS(EyerissRSOptions())
    relu = Layer(op="relu", in_shape=(16, 14, 14), out_shape=(16, 14, 14))
    network = backend.measure_network([FEW[0], relu, *FEW[1:]])
    rows = list(backend.measure(FEW))
    for metric in ("latency", "cycles", "energy"):
        assert network[metric].median == pytest.approx(sum(r[metric].median for r in rows))
        assert network[metric].unit == rows[0][metric].unit


def test_groups_run_one_after_another():
    """Groups ignored: a depthwise convolution would cost as much as a full one."""
    grouped, one = price(conv(32, 14, 64, 3, groups=4)), price(conv(8, 14, 16, 3))
    for metric in ("cycles", "energy"):
        assert grouped[metric].median == 4 * one[metric].median


def test_a_batch_shares_weights():
    """Costs are of one image: a batch saves weights from DRAM, and an image must never cost more in it."""
    layer = conv(128, 6, 144, 3)
    assert price(layer, batch=4, minimise="energy")["energy"].median < price(layer, minimise="energy")["energy"].median
    assert price(LINEAR, batch=4)["cycles"].median < price(LINEAR)["cycles"].median


def test_a_kernel_larger_than_the_array_is_cut_in_pieces():
    """A 13 x 13 kernel crashed or was priced as a small one: it is four pieces of 7 x 7."""
    layer = conv(4, 40, 8, 13)
    costs = price(layer)
    assert costs["cycles"].median >= layer.macs / 168
    assert costs["energy"].median >= 5 * layer.macs
    assert costs["energy"].median < 4 * price(conv(4, 40, 8, 11))["energy"].median


@pytest.mark.parametrize("stride", [1, 2])
def test_a_dilated_convolution_reads_more_and_computes_the_same(stride):
    """Priced as without dilation, it would read rows that it does not use, and leave out those that it does."""
    plain, spread = (price(conv(16, 20, 16, 3, stride=stride, dilation=d), minimise="energy") for d in (1, 3))
    for metric in ("energy", "cycles"):
        assert plain[metric].median < spread[metric].median < 1.5 * plain[metric].median


def test_a_depthwise_convolution_costs_its_channels_one_after_another():
    one, all_of_them = price(conv(1, 20, 1, 3)), price(conv(8, 20, 8, 3, groups=8))
    assert all(all_of_them[metric].median == pytest.approx(8 * one[metric].median) for metric in one)


@pytest.mark.parametrize("kernel", [1, 3, 5])
def test_a_map_smaller_than_its_kernel_is_priced(kernel):
    """VGG9's last layers: 2 x 2 maps, 5 x 5 kernels, all the rest is padding, which DRAM does not hold."""
    costs = price(conv(144, 2, 144, kernel), minimise="energy")
    words = 144 * 144 * kernel**2 + 144
    assert costs["energy"].median >= 200 * words
    assert costs["energy"].median < 230 * (words + 144 * 4) + 60 * 144 * 144 * kernel**2


def test_refuses_what_the_array_does_not_do():
    """A pooling layer priced as if it were a convolution would look right."""
    layer = Layer(op="max_pool", in_shape=(8, 4, 4), out_shape=(8, 2, 2), kernel=2, stride=2)
    with pytest.raises(DeviceError, match=r"'max_pool' \(max_pool-8x4x4-8x2x2"):
        price(layer)


@pytest.mark.parametrize("out", [(8, 0, 0), (0, 4, 4)])
def test_an_empty_layer_is_refused_by_name(out):
    """A layer that vanished would cost nothing and win every search."""
    with pytest.raises(PluginError, match=f"conv2d-8x2x2-{'x'.join(map(str, out))}-k3s2"):
        price(Layer(op="conv2d", in_shape=(8, 2, 2), out_shape=out, kernel=3, stride=2))


def test_a_map_too_large_for_the_buffer_is_refused_with_the_next_step():
    """An index error from an empty search."""
    layer = Layer(op="conv2d", in_shape=(1, 1, 60_000), out_shape=(1, 1, 60_000))
    with pytest.raises(DeviceError, match="no mapping") as error:
        price(layer)
    assert error.value.hint == "use smaller images"


def test_its_options_load_neither_numpy_nor_scalesim():
    """Showing the plugin's options loads what only measuring needs."""
    code = """
import sys
from hnas_backends.eyeriss_rs import EyerissRS, EyerissRSOptions
EyerissRS(EyerissRSOptions()).describe()
assert not [m for m in sys.modules if m.partition(".")[0] in ("numpy", "scalesim", "torch")]
"""
    subprocess.run([sys.executable, "-c", code], check=True)
