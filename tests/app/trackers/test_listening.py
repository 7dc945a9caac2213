"""Trackers that fail, hang or end the program: the run goes on, and a line says so, once."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from hnas.events import Event, Tracker
from hnas_app.trackers import listening as module
from hnas_app.trackers.listening import Listening, listening

STEP = Event(phase="adapt", kind="step", done=1)


class Recorder(Tracker):
    """Keeps what it is called with; ``fail`` is called in the method of its name."""

    def __init__(self, at: str = "", fail: Callable[[], object] = lambda: None) -> None:
        self.seen: list[Any] = []
        self.at, self.fail = at, fail

    def start(self, run: Path, settings: Any) -> None:
        self._do("start", (run, settings))

    def event(self, event: Event) -> None:
        self._do("event", event)

    def close(self) -> None:
        self._do("close", "closed")

    def _do(self, method: str, what: Any) -> None:
        if method == self.at:
            self.fail()
        self.seen.append(what)


def follow(tracker: Tracker, events: int = 3) -> list[str]:
    """Tell a tracker of some events; return the notes."""
    notes: list[Event] = []
    with listening([("x", tracker)], Path("run"), {"seed": 1}, notes.append) as (listener,):
        for _ in range(events):
            listener(STEP)
    assert all((e.phase, e.kind) == ("run", "note") for e in notes)
    return [e.text for e in notes]


def test_a_tracker_gets_the_run_its_events_and_an_end() -> None:
    tracker = Recorder()
    assert follow(tracker) == []
    assert tracker.seen == [(Path("run"), {"seed": 1}), STEP, STEP, STEP, "closed"]


def fails() -> None:
    raise ValueError("the disk\nis gone")


def ends_the_program() -> None:
    raise SystemExit(3)


@pytest.mark.parametrize("at", ["start", "event", "close"])
@pytest.mark.parametrize(
    ("fail", "told"), [(fails, "ValueError: the disk is gone"), (ends_the_program, "SystemExit: 3")]
)
def test_one_that_fails_is_told_of_once(at: str, fail: Callable[[], None], told: str) -> None:
    (note,) = follow(Recorder(at, fail))
    assert note == f"--log x shows no more of this run, which goes on: {told}"


def test_one_that_hangs_does_not_hold_the_run_up(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("MOST", 5), ("PATIENCE_S", 0.05)):
        monkeypatch.setattr(module, name, value)
    never = threading.Event()
    (note,) = follow(Recorder("start", never.wait), events=20)
    assert note.endswith("it is stuck: 5 events wait for it")
    notes: list[str] = []
    slow = Listening("x", Recorder("event", never.wait), notes.append, Path("run"), {})
    slow(STEP)
    slow.close(0.05)
    assert notes == ["--log x shows no more of this run, which goes on: it had not ended 0 s after the run"]
    never.set()


def test_a_run_without_an_event_starts_no_tracker() -> None:
    tracker = Recorder()
    assert follow(tracker, events=0) == []
    assert tracker.seen == []
