"""The ranking benchmark: its measures on orders that can be counted by hand, and the script on a small super-net."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture(scope="module")
def ranking(benchmark_module: Callable[[str], Any]) -> Any:
    return benchmark_module("ranking")


def network(genes: int, accuracy: float, *, depth: int = 4, params: int = 1, macs: int = 1) -> dict[str, Any]:
    return {"genes": [genes], "accuracy": accuracy, "options": {"depth": depth}, "params": params, "macs": macs}


def test_the_comparison_by_hand(ranking: Any) -> None:
    """Eight networks, of which the super-net exchanges the best with the third; all 10 points lower but one."""
    networks = [network(i, 0.9 - 0.1 * i, depth=4 if i < 4 else 1, params=i, macs=-i) for i in range(8)]
    shared = [n["accuracy"] - 0.1 for n in networks]
    shared[0], shared[2] = shared[2], shared[0]
    shared[7] += 0.05
    found = ranking.compare(networks, shared, [7])
    assert found["networks"] == 8
    assert found["tau"] == pytest.approx(1 - 2 * 3 / 28, abs=1e-3)  # 0–1, 0–2 and 1–2 of 28 pairs
    assert found["tau_full_depth"] == 0.0  # 3 of 6
    assert found["top_quarter"] == 0.5  # of the best two, one
    assert found["gap"] == pytest.approx(10.0)
    assert found["gap_reference"] == pytest.approx(5.0)
    assert (found["tau_params"], found["tau_macs"]) == (-1.0, 1.0)


def test_accuracies_over_seeds_are_means_in_the_order_of_the_first(ranking: Any) -> None:
    """A network that one seed favoured is worse than it looks; one without a second seed stays as it is."""
    rows = [network(1, 0.8) | {"seed": 0}, network(2, 0.6) | {"seed": 0}, network(1, 0.7) | {"seed": 1}]
    found = ranking.over_seeds([rows[2], *rows[:2]])
    assert [(n["genes"], n["accuracy"]) for n in found] == [([1], pytest.approx(0.75)), ([2], pytest.approx(0.6))]


@pytest.mark.slow
def test_a_super_net_is_scored_against_networks_trained_alone(tmp_path: Path, hnas_home: Path, real_data: Any) -> None:
    """Both commands on real images, each for a moment; the second call of `alone` finds everything done."""
    sets = {"space.base_width": 4, "meta_train.epochs": 1, "meta_train.iterations": 2, "meta_train.shrink_start": 0}
    program = "from hnas_app.cli import main; main()"
    flags = [part for key, value in sets.items() for part in ("--set", f"{key}={value}")]
    data, run_dir = ("--data-root", str(real_data("omniglot"))), str(tmp_path / "run")
    run("-c", program, "meta-train", "--preset", "quick", "--tasks", "omniglot", *data, "--run-dir", run_dir, *flags)
    script = (str(BENCHMARKS / "ranking.py"), "--results", str(tmp_path), "--test-tasks", "20")
    alone = (*script, "alone", *data, "--width", "4", "--architectures", "4", "--iterations", "10")
    assert run(*alone).count(" in ") == 5  # the reference too
    assert run(*alone) == ""
    run(*alone, "--seed", "1")
    found = json.loads(run(*script, "score", run_dir))
    assert found["networks"] == 5
    assert all(-1 <= found[key] <= 1 for key in ("tau", "tau_params", "ceiling", "tau_full_depth"))
    assert 0 <= found["disagreement"] <= 1
    assert found["over_seeds"].keys() == {"tau", "gap", "gap_reference"}


def run(*command: str) -> str:
    done = subprocess.run(
        [sys.executable, *command],
        capture_output=True,
        text=True,
        timeout=240,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout
