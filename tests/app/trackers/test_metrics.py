"""``metrics.jsonl`` of a run that was killed and went on: each step once, whatever a process repeats."""

from __future__ import annotations

from pathlib import Path

from hnas.events import Event
from hnas_app.trackers.json_lines import JsonLines
from hnas_app.trackers.metrics import MetricsListener


def step(done: int, phase: str = "meta-train", **values: object) -> Event:
    return Event(phase=phase, kind="step", done=done, total=9, values=values or {"loss": 1.0})


def test_steps_that_a_resumed_run_repeats_are_there_once(tmp_path: Path) -> None:
    """A kill loses the checkpoint of the last steps, not their lines; curves would run back there."""
    file = JsonLines(tmp_path / "metrics.jsonl")
    first = MetricsListener(file)
    for done in (1, 2, 3, 4):
        first(step(done))
    new: list[Event] = []
    again = MetricsListener(file, others=[new.append])
    again(Event(phase="meta-train", kind="start", done=2, total=9))
    for done in (3, 4, 5, 6):
        again(step(done))
    steps = [line["done"] for line in file.read() if line["kind"] == "step"]
    assert steps == [1, 2, 3, 4, 5, 6]
    assert [(e.kind, e.done) for e in new] == [("start", 2), ("step", 5), ("step", 6)]


def test_other_values_of_the_same_iteration_and_other_phases_are_steps_of_their_own(tmp_path: Path) -> None:
    listener = MetricsListener(JsonLines(tmp_path / "metrics.jsonl"))
    listener(step(5, loss=1.0))
    listener(step(5, validation_accuracy=0.5))
    listener(step(3, phase="retrain", loss=1.0))
    listener(step(5, loss=2.0))
    assert [line["values"] for line in listener.file.read()] == [
        {"loss": 1.0},
        {"validation_accuracy": 0.5},
        {"loss": 1.0},
    ]


def test_a_phase_that_counts_what_is_left_counts_anew(tmp_path: Path) -> None:
    file = JsonLines(tmp_path / "metrics.jsonl")
    for _ in range(2):
        MetricsListener(file)(step(1, phase="short training"))
    assert len(list(file.read())) == 2


def test_lines_that_are_none_of_ours_are_passed_over(tmp_path: Path) -> None:
    (tmp_path / "metrics.jsonl").write_text('[1]\n{"kind": "step"}\n{"kind": "step", "phase": 3, "done": "x"}\n')
    listener = MetricsListener(JsonLines(tmp_path / "metrics.jsonl"))
    listener(step(1))
    assert len(list(listener.file.read())) == 4
