"""experiments/wins/structures.py trains each network once, as a run would."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import hnas
from hnas_plugins.spaces.vgg9 import VGG9, VGG9Options

TINY = {
    "meta_train.epochs": 1,
    "meta_train.iterations": 1,
    "meta_train.tasks": 2,
    "retrain.epochs": 1,
    "retrain.iterations": 400,
    "retrain.tasks": 1,
    "retrain.race_tasks": 2,
    "evaluate.tasks": 2,
    "space.base_width": 4,
}


@pytest.fixture
def structures(benchmark_module: Callable[[str], Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    module = benchmark_module("structures")
    monkeypatch.setattr(module, "RESULTS", tmp_path / "structures.json")
    return module


def test_a_network_is_read_from_its_text(structures: Any) -> None:
    space = VGG9(VGG9Options(base_width=4))
    arch = structures.architecture(space, "5/0.25/relu 3/1.0/elu")
    found = space.options(arch)
    assert found == {
        **{"depth": 2, "kernel1": 5, "scale1": 0.25, "activation1": "relu"},
        **{"kernel2": 3, "scale2": 1.0, "activation2": "elu"},
    }


def test_rows_are_in_the_order_of_their_accuracy(structures: Any) -> None:
    rows = [{"super-net": s, "network": n, "test": t} for s, n, t in (("a", "x", 1), ("b", "y", 2), ("a", "z", 3))]
    assert [line.split(" | ")[1] for line in list(structures.table(rows))[2:]] == ["z", "x", "y"]


@pytest.mark.slow
def test_a_network_is_trained_once(structures: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = hnas.run(
        space="vgg9", backend="eyeriss", preset="quick", settings=TINY, run_dir=tmp_path / "run", until="meta-train"
    )
    words = [str(run.path), "tiny", "3/1.0/relu"]
    structures.main(words)
    (row,) = json.loads(structures.RESULTS.read_text())
    assert list(row["heats"]) == ["75", "150", "300", "end"]
    assert 0 <= row["test"] <= 100
    structures.main([*words, "--again"])
    (again,) = json.loads(structures.RESULTS.read_text())
    assert again == row | {"again": again["again"]}
    monkeypatch.setattr(structures, "measured", None)  # it would fail, were it called
    structures.main([*words, "--table"])
