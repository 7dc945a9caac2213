"""The options of the x86 backend."""

from __future__ import annotations

from typing import Any, Literal

from attrs import Attribute, frozen

from hnas import ConfigError
from hnas.settings import at_least_0, one_of, positive, setting


def _a_core(instance: Any, attribute: Attribute[str], value: str) -> None:
    if value and not (value.isascii() and value.isdigit()):
        raise ConfigError(
            f"x86: {value!r} is no core; expected its number, as in --backend x86:0, or nothing for the last one",
            hint="`nproc --all` prints how many there are; they count from 0",
        )


@frozen(kw_only=True)
class X86Options:
    """The runtime of the layers, the core, and how long to measure. Runtime, core and ``flush_mb`` key the table."""

    runtime: Literal["c", "torch", "onnxruntime"] = setting(
        "c",
        "c: a small C program, compiled at first use; torch: PyTorch's modules; onnxruntime: ONNX graphs (hnas[onnx])",
        one_of("c", "torch", "onnxruntime"),
    )
    device: str = setting("", "core to pin to; empty: the last one that this process may use", _a_core)
    rounds: int = setting(3, "how often each layer is measured, each time in another order", positive, most=1000)
    samples: int = setting(10, "samples of a layer in each round", positive, most=10_000)
    sample_ms: float = setting(
        2.0, "shortest time of a sample, ms: the layer is repeated to fill it", positive, most=10_000
    )
    limit_ms: float = setting(
        5000.0, "no more samples of a layer after this time, ms, but at least three", positive, most=1e6
    )
    flush_mb: int = setting(
        0,
        "MB written before each sample, which is then one run, so that caches are cold; 0: warm",
        at_least_0,
        most=1024,
    )
    max_load: float = setting(
        0.0, "refuse to start if the machine's load per core is above this; 0: never, the load is noted", at_least_0
    )
