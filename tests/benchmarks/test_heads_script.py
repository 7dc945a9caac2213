"""The script that compares the two classifiers: it trains what it says, measures each row once, and prints them."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import hnas


@pytest.fixture
def heads(benchmark_module: Callable[[str], Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The script, which writes elsewhere and tests two networks at two numbers of classes."""
    module = benchmark_module("heads")
    for name, value in {"RESULTS": tmp_path / "heads.json", "WAYS": (2, 4), "RANDOM": 1}.items():
        monkeypatch.setattr(module, name, value)
    return module


def test_a_command_trains_the_named_head(heads: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    called: list[list[str]] = []
    monkeypatch.setattr(subprocess, "run", lambda words, check: called.append(words))
    monkeypatch.setattr(heads, "measure", lambda *given: None)
    heads.main(["--data-root", "data", "--runs", str(tmp_path), "--iterations", "40"])
    assert ["space.classifier=shared" in words for words in called] == [False, True]
    assert all("meta_train.iterations=4" in words and "meta_train.epochs=10" in words for words in called)


@pytest.mark.parametrize(("name", "ways"), [("own", [2]), ("shared", [2, 4])])
def test_each_number_that_is_served_has_a_row_once(
    heads: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any, name: str, ways: list[int]
) -> None:
    settings = {"space.base_width": 4, "task.n_way": 3, "learner.inner_steps": 1, "meta_train.epochs": 1}
    settings |= {"meta_train.iterations": 1, "meta_train.tasks": 1, **heads.NAMES[name]}
    run = tmp_path / "omniglot-own-1500-0".replace("own", name)
    names: Any = {"space": "vgg9", "tasks": "tiny_tasks:TinyTasks", "backend": "tiny_board:TinyBoard"}
    hnas.run(**names, preset="none", settings=settings, run_dir=run, workers=1, until="meta-train")
    monkeypatch.setattr(heads, "trained", lambda *given: None)
    for _ in range(2):
        heads.main([name, "--data-root", "data", "--runs", str(tmp_path), "--test-tasks", "2"])
    rows = json.loads(heads.RESULTS.read_text())
    assert [row["n_way"] for row in rows] == ways
    assert all(len(row["networks"]) == 2 and 0 <= row["reference"] <= 100 for row in rows)
    capsys.readouterr()
    heads.main(["--table"])
    assert len(capsys.readouterr().out.splitlines()) == 2 + len(ways)
