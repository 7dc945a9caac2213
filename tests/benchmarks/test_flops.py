"""The FLOP formula of the benchmarks, held to published counts: a share of the peak is wrong where it is."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from hnas import Layer


@pytest.fixture(scope="module")
def flops(benchmark_module: Callable[[str], Any]) -> Any:
    return benchmark_module("flops")


def network(image: tuple[int, int, int], filters: int, n_way: int, *, max_pool: bool) -> list[Layer]:
    """Return the MAML++ authors' network: four 3×3 layers. Max-pooling drops an odd last row; maps are flattened."""
    layers = []
    channels, size, _ = image
    for _ in range(4):
        out = size if max_pool else (size + 1) // 2
        shapes = {"in_shape": (channels, size, size), "out_shape": (filters, out, out)}
        layers.append(Layer(op="conv2d", **shapes, kernel=3, stride=1 if max_pool else 2, padding=1))
        channels, size = filters, out // 2 if max_pool else out
    features = filters * (size**2 if max_pool else 1)
    return [*layers, Layer(op="linear", in_shape=(features, 1, 1), out_shape=(n_way, 1, 1))]


OMNIGLOT, MINI = (1, 28, 28), (3, 84, 84)
CASES = {
    "omni20_mp": (network(OMNIGLOT, 64, 20, max_pool=True), (20, 20), 8, (147, 184, 55.7, 6.19)),
    "omni20_s2": (network(OMNIGLOT, 64, 20, max_pool=False), (20, 20), 8, (39.9, 49.9, 15.1, 1.68)),
    "mini5_mp": (network(MINI, 48, 5, max_pool=True), (5, 75), 2, (95.2, 289, 64.7, 16.6)),
    "mini5_s2": (network(MINI, 64, 5, max_pool=False), (5, 75), 2, (42.7, 129, 28.9, 7.38)),
}


@pytest.mark.parametrize("name", CASES)
def test_flop_needed_are_those_of_the_reference_table(flops: Any, name: str) -> None:
    """GFLOP of a meta-iteration (second order, with MSL, first order) and of one adaption, counted independently."""
    layers, (support, query), tasks, expected = CASES[name]
    size = flops.TaskSize(n_support=support, n_query=query, steps=5)
    found = (
        tasks * flops.meta_flops(layers, size, second_order=True),
        tasks * flops.meta_flops(layers, size, second_order=True, multi_step_loss=True),
        tasks * flops.meta_flops(layers, size, second_order=False),
        flops.adaption_flops(layers, size),
    )
    assert [float(f"{1e-9 * f:.3g}") for f in found] == pytest.approx(expected)


def test_layers_without_a_product_count_nothing(flops: Any) -> None:
    """Activations and pools between the convolutions must not be taken for the first layer."""
    layers = CASES["omni20_s2"][0]
    relu = Layer(op="relu", in_shape=(64, 14, 14), out_shape=(64, 14, 14))
    assert flops.forward_flops([relu, *layers]) == flops.forward_flops(layers)
