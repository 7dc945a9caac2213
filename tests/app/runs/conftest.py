"""A finished run of seconds, with the home that it was made with."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from hnas_app.cli import run as command_line

TINY: dict[str, Any] = {
    "backend.ns": 2.0,
    "space.base_width": 4,
    "learner.inner_steps": 1,
    "task.n_way": 3,
    "strategy.population": 6,
    "strategy.iterations": 2,
    "meta_train.epochs": 1,
    "meta_train.iterations": 2,
    "meta_train.tasks": 2,
    "search.tasks": 2,
    "search.pool": 4,
    "search.n_query": 2,
    "search.final_tasks": 2,
    "retrain.epochs": 1,
    "retrain.iterations": 2,
    "retrain.tasks": 2,
    "evaluate.tasks": 6,
    "evaluate.n_query": 2,
}
RACING = TINY | {"retrain.finalists": 2, "retrain.race_tasks": 4}


@pytest.fixture
def tiny_settings() -> dict[str, Any]:
    """Settings with which a run takes seconds."""
    return TINY


@pytest.fixture(scope="session")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a finished run, and the home that it was made with."""
    base, engine = tmp_path_factory.mktemp("whole"), Path(os.environ["HNAS_HOME"]) / "engine"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HNAS_HOME", str(base / "home"))
        (base / "home").mkdir()
        (base / "home" / "engine").symlink_to(engine)
        sets = [word for key, value in RACING.items() for word in ("--set", f"{key}={value}")]
        names = ["--tasks", "tiny_tasks:TinyTasks", "--backend", "tiny_board:TinyBoard", "--workers", "1"]
        assert command_line(["run", "--preset", "none", *names, *sets, "--run-dir", str(base / "run")]) == 0
    return base
