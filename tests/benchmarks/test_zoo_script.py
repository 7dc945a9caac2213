"""The script that measures a super-net of the zoo: every part is kept, and none is measured twice."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import hnas

BUDGET = {
    "space.base_width": 8, "space.classifier": "shared", "learner.inner_steps": 1,
    "meta_train": {"epochs": 1, "iterations": 2, "tasks": 2, "validate_tasks": 2},
    "strategy": {"population": 4, "iterations": 1}, "search": {"tasks": 2, "pool": 4, "final_tasks": 2},
    "retrain": {"epochs": 1, "iterations": 1, "tasks": 2, "race_tasks": 2}, "evaluate.n_query": 2,
}  # fmt: skip


@pytest.mark.slow
def test_a_super_net_is_measured_once(
    benchmark_module: Callable[[str], Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = benchmark_module("measure")
    monkeypatch.setattr(script, "FOLDER", tmp_path)
    monkeypatch.setattr(script, "TASKS", ((5, 1), (3, 2)))
    run = hnas.run(space="vgg9", backend="eyeriss", settings=BUDGET, run_dir=tmp_path / "run", until="meta-train")
    script.main(["tiny", str(run.path), "--workers", "1", "--test-tasks", "3"])
    kept = (tmp_path / "tiny.json").read_text()
    found = json.loads(kept)
    assert [(row["n_way"], row["k_shot"]) for row in found["zero-retrain"]] == [(5, 1), (3, 2)]
    assert {"found", "maml++-omniglot"} <= set(found["re-trained"])
    assert found["re-trained"]["found"]["cost"]["latency"] > 0
    monkeypatch.setattr(script, "zero_retrain", None)  # which would be called for a row that is not there
    script.main(["tiny", str(run.path), "--workers", "1", "--test-tasks", "3"])
    assert (tmp_path / "tiny.json").read_text() == kept
    rows = list(script.table())
    assert [row.split(" | ")[1].split(",")[0] for row in rows[2:]] == ["5-way 1-shot", "3-way 2-shot", "5-way 1-shot"]
