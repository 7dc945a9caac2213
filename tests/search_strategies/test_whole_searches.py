"""Once-for-All and Auto-Meta from end to end: training, searches under limits, sweeps, and a stop between."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tiny_runs import TINY

import hnas
from hnas_app.cli import run as command_line

OFA = {
    "meta_train.sampling": "ofa",
    "meta_train.architectures": 2,
    "meta_train.iterations": 4,
    "strategy.iterations": 3,
    "strategy.generations": 3,
}
AUTO_META = {"space.cells": 3, "space.channels": 2, "strategy.iterations": 3, "strategy.train": 1}
SYSTEMS: dict[str, tuple[str, str, str, dict[str, Any]]] = {
    "ofa": ("vgg9", "maml++", "predictor", OFA),
    "auto-meta": ("darts", "reptile", "progressive", AUTO_META),
}


def start(path: Path, system: str, until: Any = "evaluate") -> Any:
    space, learner, strategy, more = SYSTEMS[system]
    settings = {**TINY, "learner.inner_steps": 1, **more}
    return hnas.run(
        space=space,
        learner=learner,
        strategy=strategy,
        tasks="tiny_tasks:TinyTasks",
        backend="tiny_board:TinyBoard",
        preset="none",
        constraints="params<=20K" if system == "ofa" else "params<=1M",
        settings={k: v for k, v in settings.items() if k != "space.base_width" or space == "vgg9"},
        run_dir=path,
        workers=1,
        until=until,
    )


def searched(path: Path) -> list[Any]:
    return [json.loads(line)["genes"] for line in (path / "search.jsonl").read_text().splitlines()]


@pytest.mark.slow
@pytest.mark.parametrize("system", SYSTEMS)
def test_it_runs_from_end_to_end(system: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """To a result within the limit; a search whose last batch is lost asks for the same one again."""
    run = start(tmp_path / "run", system, until="adapt")
    trace = run.path / "search.jsonl"
    whole = searched(run.path)
    assert len(whole) == 3
    for made in run.path.glob("adapt*"):
        made.unlink()
    trace.write_text("".join(trace.read_text().splitlines(keepends=True)[:2]))
    results = start(tmp_path / "run", system).results
    assert searched(run.path) == whole
    found = next(n for n in results.networks if n.name == "found")
    assert found.cost["params"] <= (20_000 if system == "ofa" else 1_000_000)
    limits = ["--constraint", "params<=15K", "--constraint", "params<=20K"] if system == "ofa" else []
    limits = limits or ["--constraint", "params<=500K", "--constraint", "params<=1M"]
    assert command_line(["adapt", str(run.path), "--workers", "1", *limits]) == 0
    assert "params" in capsys.readouterr().out
