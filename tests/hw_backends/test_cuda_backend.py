"""The CUDA backend: what it says without a GPU, and with the marker ``gpu`` what it measures on one."""

import subprocess
import sys

import pytest
import torch

from hnas import DeviceError, Layer, Registry
from hnas_backends.cuda import CUDA, CUDAOptions
from hnas_backends.cuda.bench import Bench, recorded
from hnas_backends.cuda.timing import event_lap

HAS_GPU = torch.cuda.is_available()
SMALL = Layer(op="relu", in_shape=(16, 14, 14), out_shape=(16, 14, 14))


def conv(width, size):
    shape = (width, size, size)
    return Layer(op="conv2d", in_shape=shape, out_shape=shape, kernel=3, padding=1, bias=True)


@pytest.mark.skipif(HAS_GPU, reason="there is a GPU")
@pytest.mark.parametrize("ask", ["describe", "measure", "measure_network"])
def test_without_a_gpu_every_question_says_so(ask):
    """A traceback of torch's, or a hint that does not tell this machine's next step."""
    backend = CUDA(CUDAOptions())
    with pytest.raises(DeviceError) as error:
        list(getattr(backend, ask)(*([] if ask == "describe" else [[SMALL]])))
    assert torch.__version__ in str(error.value)
    assert "--backend x86" in error.value.hint
    backend.close()


def test_options_are_read_without_torch():
    """`hnas plugins show cuda` would take seconds."""
    code = """
import sys
from hnas_backends.cuda import CUDA, CUDAOptions
CUDA(CUDAOptions()).close()
assert "torch" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("wrong", [{"batch": 0}, {"precision": "float8"}, {"samples": 0}, {"sample_ms": 0.0}])
def test_wrong_options_are_refused(wrong):
    """A batch of 0 would be measured as nothing."""
    with pytest.raises(ValueError, match=next(iter(wrong))):
        CUDAOptions(**wrong)


def test_only_layers_that_were_launched_are_named_in_the_record():
    backend = CUDA(CUDAOptions())
    assert backend.check_table({}, [SMALL]) == {"not_in_graphs": {}}
    backend._bench = Bench(torch.device("cpu"), CUDAOptions())
    backend._bench.launched |= {SMALL.key: "operation not permitted when stream is capturing", "other": "no"}
    assert backend.check_table({}, [SMALL]) == {
        "not_in_graphs": {SMALL.key: "operation not permitted when stream is capturing"}
    }
    assert CUDA(CUDAOptions(cuda_graphs=False)).check_table({}, [SMALL]) == {}


gpu = [pytest.mark.gpu, pytest.mark.skipif(not HAS_GPU, reason="torch sees no CUDA device")]


class TestOnAGPU:
    pytestmark = gpu

    @pytest.fixture
    def backend(self):
        backend = CUDA(CUDAOptions(samples=5))
        yield backend
        backend.close()

    def test_says_what_it_is(self, backend):
        """A table without the versions that made it, or without rounds: drift would go unseen."""
        info = backend.describe()
        assert info.device == torch.cuda.get_device_name(0)
        assert info.settings["cuda"] == torch.version.cuda
        assert info.rounds is not None
        assert info.conditions["index"] == 0
        assert "sm_mhz" in info.conditions or "clocks" in info.conditions

    @pytest.mark.parametrize(
        "change", [{"batch": 2}, {"precision": "tf32"}, {"warm_cache": False}, {"cuda_graphs": False}]
    )
    def test_what_changes_a_measurement_changes_the_fingerprint(self, backend, change):
        other = CUDA(CUDAOptions(**change)).describe()
        assert other.fingerprint != backend.describe().fingerprint

    def test_an_index_too_high_names_those_there(self):
        with pytest.raises(DeviceError, match=torch.cuda.get_device_name(0)):
            CUDA(CUDAOptions(device="99")).describe()

    def test_a_large_layer_takes_longer_than_a_small_one(self, backend):
        small, large = (costs["latency"] for costs in backend.measure([conv(16, 16), conv(512, 128)]))
        assert 0 < small.median < large.median
        assert large.median > 5 * small.median
        assert backend.check_table({}, [conv(16, 16)]) == {"not_in_graphs": {}}

    def test_graphs_remove_the_launch(self):
        """Small layers would all cost the same: what Python takes to launch them."""
        with_graph, without = (
            next(CUDA(CUDAOptions(cuda_graphs=on)).measure([SMALL]))["latency"].median for on in (True, False)
        )
        assert with_graph < 0.8 * without

    def test_a_cold_cache_is_slower(self):
        """The flush does not flush."""
        layer = Layer(op="relu", in_shape=(64, 128, 128), out_shape=(64, 128, 128))
        warm, cold = (next(CUDA(CUDAOptions(warm_cache=on)).measure([layer]))["latency"].median for on in (True, False))
        assert cold > warm

    def test_tf32_is_off_unless_asked_for(self):
        """Convolutions use it by torch's default: the exact ones would be measured as several times too fast."""
        layer = conv(512, 64)
        exact, rough = (
            next(CUDA(CUDAOptions(precision=p, batch=8)).measure([layer]))["latency"].median
            for p in ("float32", "tf32")
        )
        assert rough < exact

    def test_what_cannot_be_recorded_is_launched(self):
        """A layer that waits for the processor ends the profile."""
        bench = Bench(torch.device("cuda", 0), CUDAOptions(samples=3))
        x = torch.ones(4, device="cuda")
        assert min(bench._samples("reads", lambda: x.sum().item())) > 0
        assert "reads" in bench.launched
        assert bench.layer(conv(16, 16)).median > 0, "the device is of no use after a failed recording"

    def test_a_graph_holds_as_many_runs_as_asked(self):
        counter = torch.zeros(1, device="cuda")
        replay = recorded(lambda: counter.add_(1), 7)
        counter.zero_()
        replay()
        assert counter.item() == 7

    def test_events_take_the_time_of_the_gpu(self):
        x = torch.randn(2048, 2048, device="cuda")
        event_lap(lambda: x @ x, 3)
        assert event_lap(lambda: x @ x, 50) > 5 * event_lap(lambda: x @ x, 2)

    def test_the_sum_of_a_network_is_near_the_network(self, backend):
        """Single layers are measured in another way than whole networks."""
        space = Registry(third_party=False).create("space", "vgg9")
        layers = space.layers(space.largest(), (3, 84, 84), 5)
        total = sum(costs["latency"].median for costs in backend.measure(layers))
        assert total == pytest.approx(backend.measure_network(layers)["latency"].median, rel=0.35)

    def test_too_large_a_batch_is_said(self):
        terabyte = Layer(op="conv2d", in_shape=(1, 1024, 1024), out_shape=(4096, 1024, 1024))
        with pytest.raises(DeviceError, match="no memory left for a batch of 64") as error:
            next(CUDA(CUDAOptions(batch=64)).measure([terabyte]))
        assert "backend.batch" in error.value.hint
