"""Timing in this process: what is done between two runs must not count, and must be done before each of them."""

from __future__ import annotations

import os
import time

import pytest
import torch

from hnas import Layer
from hnas_backends.x86 import X86Options
from hnas_backends.x86.timing import Sampler
from hnas_backends.x86.torch_runtime import COMPANY, TorchRuntime

PLAN = X86Options(samples=3, sample_ms=1.0, limit_ms=50.0), min(os.sched_getaffinity(0))
RELU = Layer(op="relu", in_shape=(4, 2, 2), out_shape=(4, 2, 2))


def test_what_runs_between_does_not_count_and_runs_before_each_run() -> None:
    calls: list[str] = []

    def between() -> None:
        calls.append("between")
        time.sleep(5e-3)

    samples = Sampler(*PLAN).samples(lambda: calls.append("work"), between)
    assert len(samples) == 3
    assert min(samples) < 1.0  # ms; a call of `between` takes five
    assert calls == ["between", "work"] * (len(calls) // 2)


def test_a_sample_lasts_as_long_as_it_has_to_with_what_runs_between() -> None:
    """Else a layer of three microseconds would take thirty times as long as without."""
    calls: list[float] = []
    Sampler(*PLAN).samples(lambda: calls.append(1.0), lambda: time.sleep(2e-3))
    warm_up = 500 / 2
    assert len(calls) < warm_up + 20


def test_torch_measures_a_layer_in_company_and_a_network_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[bool] = []

    def samples(self: Sampler, work: object, between: object = None) -> list[float]:
        seen.append(between is not None)
        if callable(between):
            assert between().shape == (1, 5)  # the company's own end
        return [1.0]

    monkeypatch.setattr(Sampler, "samples", samples)
    runtime = TorchRuntime(*PLAN)
    with torch.inference_mode():
        assert list(runtime.layers([RELU, RELU])) == [[1.0], [1.0]]
        runtime.network([RELU])
    assert seen == [True, True, False]
    assert runtime.settings["company"] == [layer.key for layer in COMPANY]
