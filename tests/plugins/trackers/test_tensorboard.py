"""Event files that TensorBoard reads: a curve for each value, and none twice after a resume."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from hnas import Event, Registry
from hnas.testing import TrackerConformance


@pytest.fixture(autouse=True, scope="module")
def tensorboard() -> None:
    """Skip without the package, or fail where ``HNAS_REQUIRE_TOOLS=1`` says that it must run."""
    if os.environ.get("HNAS_REQUIRE_TOOLS") != "1":
        pytest.importorskip("tensorboard")


class TestTensorBoard(TrackerConformance):
    def make(self) -> Any:
        return Registry().create("tracker", "tensorboard")


def curve(folder: Path, name: str) -> list[tuple[int, float]]:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    found = EventAccumulator(str(folder)).Reload()
    return [(e.step, e.value) for e in found.Scalars(name)]


def follow(run: Path, first: int, last: int) -> None:
    tracker = Registry().create("tracker", "tensorboard")
    tracker.start(run, {"seed": 0})
    for done in range(first, last):
        values = {"loss": 1 / done, "best_cost": {"params": 7}}
        tracker.event(Event(phase="retrain finalist-2", kind="step", done=done, values=values))
    tracker.close()


def test_a_resumed_run_goes_on_with_its_curves(tmp_path: Path) -> None:
    follow(tmp_path, 1, 5)
    follow(tmp_path, 3, 7)
    folder = tmp_path / "tensorboard" / "retrain-finalist-2"
    assert [step for step, _ in curve(folder, "loss")] == [1, 2, 3, 4, 5, 6]
    assert curve(folder, "best_cost/params")[0] == (1, 7.0)
