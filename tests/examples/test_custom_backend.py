"""The example backend conforms, is profiled as its roofline says, and its options make another device."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import hnas
from hnas.testing import BackendConformance
from hnas_app.cli import run as command_line

REFERENCE = f"{Path(__file__).resolve().parents[2] / 'examples' / 'custom_backend.py'}:MyBoard"


class TestMyBoard(BackendConformance):
    def make(self) -> hnas.HardwareBackend:
        backend: hnas.HardwareBackend = hnas.Registry().create("backend", REFERENCE)
        return backend


@pytest.fixture
def profile(capsys: pytest.CaptureFixture[str]) -> Callable[..., dict[str, Any]]:
    """Return a function that profiles, and returns the record with each layer's costs by its key."""

    def call(*words: str) -> dict[str, Any]:
        assert command_line(["profile", "--backend", REFERENCE, "--json", *words]) == 0
        record = json.loads(capsys.readouterr().out)
        return {**record, "layers": {row["key"]: row for row in record["layers"]}}

    return call


def test_a_layer_takes_its_arithmetic_or_its_traffic_whichever_is_slower(profile):
    """The classifier moves more than it computes; a 3×3 convolution computes more than it moves."""
    cost = profile("--input", "1x28x28")["layers"]
    conv = cost["conv2d-64x14x14-64x7x7-k3s2p1g1b1"]
    assert conv["latency_ms"] == pytest.approx(9 * 64 * 64 * 49 / 1e9 * 1e3)
    classifier = cost["linear-64x1x1-5x1x1-k1s1p0g1b1"]
    moved = 4 * (64 + 5 + 64 * 5 + 5)
    assert classifier["latency_ms"] == pytest.approx(moved / 0.5e9 * 1e3)
    assert classifier["memory_KiB"] == pytest.approx(moved / 1024)


def test_options_reach_the_class_and_make_another_device(profile):
    """Rows of one setting must not be served for another."""
    slow, fast = profile("--input", "1x8x8"), profile("--input", "1x8x8", "--set", "backend.gbytes=5")
    assert slow["fingerprint"] != fast["fingerprint"]
    key = next(k for k in slow["layers"] if k.startswith("linear"))
    assert slow["layers"][key]["latency_ms"] == pytest.approx(10 * fast["layers"][key]["latency_ms"])
