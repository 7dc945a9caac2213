"""The options of the CUDA backend."""

from __future__ import annotations

from typing import Any, Literal

from attrs import Attribute, frozen, validators

from hnas import ConfigError
from hnas.settings import at_least_0, one_of, positive, setting


def _an_index(instance: Any, attribute: Attribute[str], value: str) -> None:
    """Refuse a text that names no GPU: PyTorch would take some for another device and fail much later."""
    if not (value.isascii() and value.isdigit()):
        raise ConfigError(
            f"cuda: {value!r} is no GPU; expected its index, as in --backend cuda:0",
            hint="`nvidia-smi -L` lists the GPUs; CUDA_VISIBLE_DEVICES changes how they are counted",
        )


@frozen(kw_only=True)
class CUDAOptions:
    """The GPU, the work on it, and how long to measure. The work (batch, precision, cache, graphs) keys the table."""

    device: str = setting("0", "index of the GPU, as PyTorch counts", _an_index)
    batch: int = setting(1, "images in a batch; a latency is that of the whole batch", positive, most=1e6)
    precision: Literal["float32", "tf32"] = setting(
        "float32",
        "float32: exact products; tf32: products of 10-bit mantissas, on tensor cores",
        one_of("float32", "tf32"),
    )
    warm_cache: bool = setting(
        True, "false: empty the L2 cache before each run, outside the time measured", validators.instance_of(bool)
    )
    cuda_graphs: bool = setting(
        True,
        "record runs in a CUDA graph, so that no launch from Python is timed; a layer that cannot be recorded is "
        "launched, and the table's record names it",
        validators.instance_of(bool),
    )
    samples: int = setting(10, "samples of a layer in each round", positive, most=10_000)
    sample_ms: float = setting(
        2.0, "shortest time of a sample, ms: the layer is repeated to fill it", positive, most=10_000
    )
    warmup_ms: float = setting(20.0, "runs before the first sample of a layer, ms", at_least_0, most=1e6)
