"""Compare an exported model's latency on this machine with a cost table's estimate (``hnas[onnx]``)."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

from attrs import frozen

from hnas.cost import sum_over_layers
from hnas.errors import HnasError
from hnas.layer import Layer
from hnas_app.costs.amounts import amount
from hnas_app.export.onnx_session import INPUT, OUTPUT, OnnxModel, onnxruntime

if TYPE_CHECKING:
    from hnas.backend import HardwareBackend

SAMPLES = 60
SAMPLE_S = 2e-3
"""A sample lasts at least this long: the model runs again and again until then."""
OPSET = 18


@frozen(kw_only=True)
class LatencyCheck:
    """An exported model's latency (ms; one image, one thread) and the estimate that it is compared with."""

    measured_ms: float
    """The median, without the time that a call takes before the first node runs."""
    call_ms: float
    """The time that was taken off for that."""
    against: str
    """The source of the estimate."""
    estimate_ms: float

    @property
    def ratio(self) -> float:
        return self.measured_ms / self.estimate_ms

    def __str__(self) -> str:
        return (
            f"latency under onnxruntime: {amount(self.measured_ms, 'ms')} (and {amount(self.call_ms, 'ms')} for the "
            "call); "
            f"{self.against}: {amount(self.estimate_ms, 'ms')}; ratio {self.ratio:.2f}"
        )


def measured(path: Path) -> tuple[float, float]:
    """Return the time of one image in the model's graph, and of a call without it, both in ms."""
    model = OnnxModel.open(path)
    shape = (1, *model.metadata.preparation.shape)
    call = _median_ms(_bound(_empty(shape), shape))
    return max(_median_ms(_bound(model.session, shape)) - call, 1e-6), call


def estimated(backend: HardwareBackend, layers: Sequence[Layer]) -> float:
    """Measure the network's layers now, and return the sum of their times in ms.

    Raises `DeviceError` if the backend cannot, and `HnasError` if it has no latency in ms.
    """
    with closing(backend):
        cost = sum_over_layers(backend, layers).get("latency")
    if cost is None or cost.unit != "ms":
        raise HnasError("the backend measures no latency in ms")
    return cost.median


def _bound(session: Any, shape: tuple[int, ...]) -> Callable[[], None]:
    """Return a call whose input and output stay where they are."""
    import numpy as np

    ort, binding = onnxruntime(), session.io_binding()
    image = np.random.default_rng(0).random(shape, np.float32)
    binding.bind_ortvalue_input(INPUT, ort.OrtValue.ortvalue_from_numpy(image))
    binding.bind_output(OUTPUT, "cpu")
    return lambda: session.run_with_iobinding(binding)


def _empty(shape: tuple[int, ...]) -> Any:
    """Return a session with one node that does next to nothing."""
    from onnx import TensorProto, helper

    ort = onnxruntime()
    taken = helper.make_tensor_value_info(INPUT, TensorProto.FLOAT, list(shape))
    given = helper.make_tensor_value_info(OUTPUT, TensorProto.INT64, [len(shape)])
    graph = helper.make_graph([helper.make_node("Shape", [INPUT], [OUTPUT])], "empty", [taken], [given])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=8)
    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    return ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


def _median_ms(call: Callable[[], None]) -> float:
    for _ in range(10):
        call()
    began = time.perf_counter()
    call()
    count = max(1, int(SAMPLE_S / max(time.perf_counter() - began, 1e-7)))
    samples = []
    for _ in range(SAMPLES):
        began = time.perf_counter()
        for _ in range(count):
            call()
        samples.append((time.perf_counter() - began) / count)
    return 1e3 * statistics.median(samples)
