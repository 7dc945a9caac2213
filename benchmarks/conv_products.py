"""Compare the engine's two ways to compute each product of a convolution, over the sizes that the settings meet.

    python benchmarks/conv_products.py

The thresholds of ``BySize`` in ``plugins/hnas_plugins/engine/conv.py`` come from here. Each row is a product (forward,
by input or by weight) of one layer: GFLOP/s of both ways, the one that ``BySize`` takes, and what that choice loses
against the better one. The end names the share of all time that wrong choices cost.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from measuring import record, settle_environment, sgemm_peak

if __name__ == "__main__":
    settle_environment()

import torch
from attrs import frozen
from configs import CONFIGS, Config

from hnas_plugins.engine import conv
from hnas_plugins.engine.conv import GEMM, ONEDNN, BySize, Geometry, Products
from hnas_plugins.meta_learners.options import MAMLPlusPlusOptions

WAYS: dict[str, Products] = {"gemm": GEMM, "onednn": ONEDNN}


@frozen(order=True)
class Size:
    """A convolution of a meta-batch: ``tasks`` together, ``images`` of each."""

    tasks: int
    images: int
    height: int
    channels: int
    filters: int
    kernel: int
    stride: int

    @property
    def geometry(self) -> Geometry:
        return Geometry(self.height, self.height, self.channels, self.kernel, self.stride)

    @property
    def gflop(self) -> float:
        rows = self.tasks * self.images * self.geometry.out[0] * self.geometry.out[1]
        return 2e-9 * rows * self.filters * self.kernel**2 * self.channels


def sizes(config: Config) -> Iterator[Size]:
    """Yield the convolutions of the reference and the random networks, for support and query sets."""
    batched_below = MAMLPlusPlusOptions().batch_below_gflop
    for row in ("reference", "random"):
        for arch in config.networks(row):
            layers = config.layers(arch)
            macs = sum(layer.macs for layer in layers)
            batched = 6e-9 * config.size.n_support * config.size.steps * macs < batched_below
            for layer in layers:
                for images in {config.size.n_support, config.size.n_query}:
                    if layer.op == "conv2d":
                        thinned = layer.kernel == 1  # `convolve` drops the pixels that a 1×1 kernel does not see
                        yield Size(
                            tasks=config.tasks if batched else 1,
                            images=images,
                            height=layer.out_shape[1] if thinned else layer.in_shape[1],
                            channels=layer.in_shape[0],
                            filters=layer.out_shape[0],
                            kernel=layer.kernel,
                            stride=1 if thinned else layer.stride,
                        )


def measure(size: Size, reps: int) -> list[dict[str, Any]]:
    """Time the three products of a size both ways."""
    g = size.geometry
    x = torch.randn(size.tasks, size.images, g.height, g.width, g.channels)
    w = torch.randn(size.tasks, size.filters, g.kernel, g.kernel, g.channels)
    gy = torch.randn(size.tasks, size.images, *g.out, size.filters)
    rows = []
    for product in ("forward", "data", "weight"):
        arguments = {"forward": (x, w), "data": (gy, w), "weight": (x, gy)}[product]
        seconds = _interleaved([_call(way, product, g, arguments) for way in WAYS.values()], reps)
        speed = {name: size.gflop / s for name, s in zip(WAYS, seconds, strict=True)}
        chosen = _chosen(product, g, *arguments)
        rows.append(
            {
                "tasks": size.tasks, "images": size.images, "height": size.height, "channels": size.channels,
                "filters": size.filters, "kernel": size.kernel, "stride": size.stride, "product": product,
                "gflop_per_task": round(size.gflop / size.tasks, 5),
                **{f"{name}_gflops": round(v, 1) for name, v in speed.items()},
                "chosen": chosen,
                "loss": round(1 - speed[chosen] / max(speed.values()), 3),
                "ms": round(1e3 * size.gflop / speed[chosen], 4),
            }
        )  # fmt: skip
    return rows


def _call(
    way: Products, product: str, g: Geometry, arguments: tuple[torch.Tensor, torch.Tensor]
) -> Callable[[], torch.Tensor]:
    function = getattr(way, product)
    return lambda: function(g, *arguments)


def _chosen(product: str, g: Geometry, a: torch.Tensor, b: torch.Tensor) -> str:
    """Return which way `BySize` takes, by asking it with ways that only tell their name."""

    class Told(Exception):
        pass

    def way(name: str) -> Any:
        def tell(*_: object) -> None:
            raise Told(name)

        return type("Way", (), dict.fromkeys(("forward", "data", "weight"), staticmethod(tell)))()

    kept = conv.GEMM, conv.ONEDNN
    conv.GEMM, conv.ONEDNN = way("gemm"), way("onednn")
    try:
        getattr(BySize(), product)(g, a, b)
    except Told as told:
        return str(told)
    finally:
        conv.GEMM, conv.ONEDNN = kept
    raise AssertionError("BySize took neither way")


def _interleaved(calls: Sequence[Callable[[], object]], reps: int) -> list[float]:
    """Return the median seconds of each call; short ones are repeated to 4 ms, rounds alternate."""
    repeats = []
    for call in calls:
        call()
        started = time.perf_counter()
        call()
        repeats.append(max(1, round(0.004 / (time.perf_counter() - started))))
    seconds: list[list[float]] = [[] for _ in calls]
    for _ in range(reps):
        for i, (call, n) in enumerate(zip(calls, repeats, strict=True)):
            started = time.perf_counter()
            for _ in range(n):
                call()
            seconds[i].append((time.perf_counter() - started) / n)
    return [statistics.median(s) for s in seconds]


def main() -> None:
    parser = argparse.ArgumentParser(description="Compare the engine's ways to compute a convolution's products.")
    parser.add_argument("--configs", default=",".join(CONFIGS), help=f"of {', '.join(CONFIGS)}")
    parser.add_argument("--reps", type=int, default=5, help="rounds")
    parser.add_argument("--json", action="store_true", help="print JSON")
    options = parser.parse_args()
    torch.set_num_threads(1)
    peak = sgemm_peak()
    rows: list[dict[str, Any]] = []
    for size in sorted({s for name in options.configs.split(",") for s in sizes(CONFIGS[name])}):
        found = measure(size, options.reps)
        rows += found
        for row in [] if options.json else found:
            told = "  ".join(f"{k}={v}" for k, v in row.items() if k not in ("loss", "chosen", "product"))
            print(f"{row['product']:8s} {row['chosen']:6s} loss {row['loss']:6.1%}  {told}", flush=True)
    wasted = sum(r["ms"] * r["loss"] for r in rows) / sum(r["ms"] for r in rows)
    content = record("conv_products", rows, sgemm_peak_gflops=round(peak, 1), block=conv.BLOCK, wasted=round(wasted, 4))
    print(json.dumps(content, indent=1) if options.json else f"wrong choices cost {wasted:.1%} of all time")


if __name__ == "__main__":
    main()
