"""Running and timing layers, on the CPU device: the code that a GPU runs, without its graphs."""

import time

import attrs
import pytest
import torch

from hnas import DeviceError, Layer, Registry
from hnas_backends.cuda import CUDAOptions
from hnas_backends.cuda.bench import Bench

FAST = CUDAOptions(samples=3, sample_ms=0.5, warmup_ms=0.5)


def bench(**changes):
    return Bench(torch.device("cpu"), attrs.evolve(FAST, **changes))


def conv(width, size=16):
    shape = (width, size, size)
    return Layer(op="conv2d", in_shape=shape, out_shape=shape, kernel=3, padding=1, bias=True)


@pytest.fixture(scope="module")
def space():
    registry = Registry(third_party=False)
    return registry.create("space", "vgg9", registry.options_class("space", "vgg9")(base_width=8, downsample="pool"))


def test_each_kind_of_layer_gives_samples_in_ms(space):
    """An operation of the space cannot be run as the backend runs it."""
    on_cpu, kinds = bench(), {}
    for layer in space.distinct_layers((1, 12, 12), 5):
        kinds.setdefault(layer.op, layer)
    assert len(kinds) == 11
    for layer in [*kinds.values(), Layer(op="add", in_shape=(8, 6, 6), out_shape=(8, 6, 6))]:
        found = on_cpu.layer(layer)
        assert found.unit == "ms"
        assert (found.n, len(found.samples)) == (3, 3)
        assert 0 < found.median < 100


def test_a_layer_of_many_more_products_takes_longer():
    """The time of something else than the layer is taken: here 256 times the products."""
    on_cpu = bench(samples=5)
    assert on_cpu.layer(conv(128, 32)).median > 4 * on_cpu.layer(conv(16, 16)).median


def test_a_latency_is_that_of_the_whole_batch():
    """The batch is not run, or divided out: a user's batch of 64 would seem to take as long as one image."""
    one, many = (bench(batch=n, samples=5).layer(conv(32, 32)).median for n in (1, 64))
    assert many > 8 * one


def test_a_network_is_measured_end_to_end(space):
    """Only its first layer is run."""
    layers = space.layers(space.largest(), (3, 40, 40), 5)
    on_cpu = bench()
    assert on_cpu.network(layers).median > 1.5 * on_cpu.layer(layers[0]).median


def test_emptying_the_cache_is_done_before_each_run_and_not_timed():
    """With a cold cache the time of the flush, a hundred times that of the layer, is added."""
    cold = bench(warm_cache=False, samples=3)
    started = time.perf_counter()
    found = cold.layer(conv(4, 4))
    took_ms = 1e3 * (time.perf_counter() - started)
    assert cold._flushed is not None
    started = time.perf_counter()
    cold._flush()
    flush_ms = 1e3 * (time.perf_counter() - started)
    assert min(found.samples) < flush_ms / 2  # the least: a busy machine slows single samples down
    assert took_ms > flush_ms


def test_settings_of_torch_are_as_before_afterwards():
    """A measurement in a user's program would change the precision of all that follows."""
    before = torch.backends.cudnn.allow_tf32, torch.backends.cudnn.benchmark, torch.backends.cuda.matmul.allow_tf32
    random = torch.get_rng_state()
    bench(precision="tf32").layer(conv(4, 4))
    bench().layer(conv(4, 4))
    with pytest.raises(DeviceError):
        bench().layer(Layer(op="attention", in_shape=(4, 4, 4), out_shape=(4, 4, 4), counts=(0, 0)))
    after = torch.backends.cudnn.allow_tf32, torch.backends.cudnn.benchmark, torch.backends.cuda.matmul.allow_tf32
    assert after == before
    assert torch.equal(torch.get_rng_state(), random)
    assert torch.is_grad_enabled()
    assert not torch.is_inference_mode_enabled()
