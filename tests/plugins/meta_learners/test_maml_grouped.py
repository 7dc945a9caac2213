"""The meta-gradient with the convolution that a GPU's recorded graphs are made of, on the CPU."""

from __future__ import annotations

import pytest
import torch

from hnas_plugins.spaces.blocks import plain as blocks
from hnas_plugins.spaces.blocks.grouped_convolution import grouped_convolution


def test_a_whole_meta_gradient_with_it(make_problem, monkeypatch: pytest.MonkeyPatch) -> None:
    """Second order, against torch's own convolutions."""
    problem = make_problem(tasks=3, batch_below_gflop=1e9)
    monkeypatch.setattr("hnas_plugins.engine.blocks.usable", lambda x, stats: False)
    truth, _ = problem.gradient()
    used = []

    def ours(x: torch.Tensor, weight: torch.Tensor, stride: int) -> torch.Tensor:
        used.append(weight.shape[-1])
        return grouped_convolution(x, weight, stride)

    monkeypatch.setattr(blocks, "convolve_tasks", ours)
    found, _ = problem.gradient()
    assert len(set(used)) == 3  # kernels of all sizes
    for name, value in truth.items():
        torch.testing.assert_close(found[name], value, rtol=1e-9, atol=1e-11, equal_nan=True)
