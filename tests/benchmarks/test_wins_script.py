"""benchmarks/wins.py measures each way under each limit once, and goes on where it stopped."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

TINY = {
    "space.base_width": "8",
    "learner.inner_steps": "1",
    "strategy.population": "6",
    "strategy.iterations": "2",
    "meta_train.epochs": "1",
    "meta_train.iterations": "2",
    "meta_train.tasks": "2",
    "search.tasks": "2",
    "search.pool": "4",
    "search.final_tasks": "2",
    "retrain.epochs": "1",
    "retrain.iterations": "4",
    "retrain.tasks": "2",
    "retrain.finalists": "2",
    "retrain.race_tasks": "4",
    "evaluate.tasks": "10",
    "workers": "1",
}


@pytest.fixture(scope="module")
def wins(benchmark_module: Callable[[str], Any]) -> Any:
    return benchmark_module("wins")


def test_each_way_is_measured_and_an_interrupted_one_goes_on(
    wins: Any, tmp_path: Path, capsys: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    sets = [f"--set={key}={value}" for key, value in TINY.items()]
    command = [
        "wins.py",
        "glyphs",
        "--backend",
        "tiny_board:TinyBoard",
        "--preset",
        "none",
        "--seeds",
        "3",
        "--limits",
        "latency<=0.6ref",
    ]
    folders = ["--work", str(tmp_path / "work"), "--results", str(tmp_path / "results")]
    monkeypatch.setattr("sys.argv", [*command, *sets, *folders])
    with monkeypatch.context() as patch:
        patch.setattr(wins, "_line", _interrupted)
        with pytest.raises(KeyboardInterrupt):
            wins.main()
    wins.main()
    kept = json.loads((tmp_path / "results" / "glyphs-3.json").read_text())["latency<=0.6ref"]
    assert list(kept) == ["raced", "algorithm1", "random"]
    assert list(kept["raced"]["networks"]) == ["found", "scaled", "maml++-omniglot"]
    assert [list(kept[way]["networks"]) for way in ("algorithm1", "random")] == [["found"], ["found"]]
    assert len(list((tmp_path / "work").glob("*/run.json"))) == 4
    found, scaled = (kept["algorithm1"]["networks"]["found"], kept["raced"]["networks"]["scaled"])
    difference = f"{100 * (found['accuracy'] - scaled['accuracy']):+.2f}"
    assert f"| latency<=0.6ref | algorithm1 | 1 | {difference} |" in capsys.readouterr().out


def _interrupted(result: Any) -> str:
    raise KeyboardInterrupt


def test_differences_are_over_seeds_with_an_interval(wins: Any) -> None:
    assert wins._interval([1.0, 2.0, 3.0]) == "+2.00 ± 2.48 (sd 1.00)"
    assert wins._interval([1.0]) == "+1.00"
    assert wins._interval([]) == "-"
