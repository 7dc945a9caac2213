"""The example backend does what the README says: it is profiled, its metrics take limits, and a run searches on it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

REFERENCE = f"{Path(__file__).resolve().parents[2] / 'examples' / 'my_backend.py'}:MyBoard"
HNAS = Path(sys.executable).with_name("hnas")


@pytest.fixture
def hnas(tmp_path):
    """Run the installed command in an empty folder and return what it printed on standard output."""

    def call(*words: str) -> str:
        done = subprocess.run([HNAS, *words], capture_output=True, text=True, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        return done.stdout

    return call


def test_a_layer_takes_its_arithmetic_or_its_traffic_whichever_is_slower(hnas):
    """The classifier moves more than it computes; a 3×3 convolution computes more than it moves."""
    rows = json.loads(hnas("profile", "--backend", REFERENCE, "--input", "1x28x28", "--json"))["layers"]
    cost = {row["key"]: row for row in rows}
    conv = cost["conv2d-64x14x14-64x7x7-k3s2p1g1b1"]
    assert conv["latency_ms"] == pytest.approx(9 * 64 * 64 * 49 / 1e9 * 1e3)
    classifier = cost["linear-64x1x1-5x1x1-k1s1p0g1b1"]
    moved = 4 * (64 + 5 + 64 * 5 + 5)
    assert classifier["latency_ms"] == pytest.approx(moved / 0.5e9 * 1e3)
    assert classifier["memory_KiB"] == pytest.approx(moved / 1024)


def test_options_reach_the_class_and_make_another_device(hnas):
    """Rows of one setting must not be served for another."""
    command = ("profile", "--backend", REFERENCE, "--input", "1x8x8", "--json")
    slow, fast = json.loads(hnas(*command)), json.loads(hnas(*command, "--set", "backend.gbytes=5"))
    assert slow["fingerprint"] != fast["fingerprint"]
    classifiers = [next(r for r in p["layers"] if r["layer"]["op"] == "linear")["latency_ms"] for p in (slow, fast)]
    assert classifiers[0] == pytest.approx(10 * classifiers[1])


def test_a_run_searches_under_limits_on_both_metrics(hnas):
    """Memory combines by maximum, latency by sum: both hold for what the smallest of runs finds."""
    tiny = {
        "space.base_width": 4,
        "learner.inner_steps": 1,
        "meta_train.epochs": 1,
        "meta_train.iterations": 1,
        "meta_train.tasks": 1,
        "search.tasks": 1,
        "search.pool": 2,
        "search.final_tasks": 2,
        "strategy.population": 4,
        "strategy.iterations": 1,
        "retrain.epochs": 1,
        "retrain.iterations": 1,
        "retrain.tasks": 1,
        "evaluate.tasks": 2,
    }
    sets = [word for key, value in tiny.items() for word in ("--set", f"{key}={value}")]
    limits = ("--constraint", "latency<=0.02ms", "--constraint", "memory<=6KiB")
    result = json.loads(hnas("run", "--backend", REFERENCE, *limits, *sets, "--workers", "1", "--json"))
    found = result["networks"][0]["cost"]["values"]
    assert 0 < found["latency"] <= 0.02
    assert 0 < found["memory"] <= 6
