"""Trackers at work: each in a thread of its own, so that neither its errors nor its waiting touch the run."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from attrs import define, field

from hnas.discovery.loading import FAULTS, cause_text
from hnas.events import Event, Listener, Tracker

MOST = 20_000
"""Events that may wait for a tracker; more mean that it is stuck."""
PATIENCE_S = 10.0
"""Seconds that a run waits for its trackers at its end, all together."""


@define
class Listening:
    """Passes events on to a tracker; ``note`` is called once, in the run's thread, if it fails or is stuck."""

    name: str
    tracker: Tracker
    note: Callable[[str], None]
    run: Path
    settings: Mapping[str, Any]
    _waiting: queue.Queue[Event | None] = field(factory=lambda: queue.Queue(MOST))
    _ended: str = ""
    """Why the tracker listens no longer."""
    _told: bool = False
    _thread: threading.Thread | None = None

    def __call__(self, event: Event) -> None:
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, name=f"tracker {self.name}", daemon=True)
            self._thread.start()
        if not self._ended:
            try:
                self._waiting.put_nowait(event)
            except queue.Full:
                self._ended = f"it is stuck: {MOST:,} events wait for it"
        self._tell()

    def close(self, patience_s: float = PATIENCE_S) -> None:
        """Let the tracker write what is left, and wait for it for a while."""
        if self._thread is None:
            return
        try:
            self._waiting.put_nowait(None)
        except queue.Full:
            self._ended = self._ended or f"it is stuck: {MOST:,} events wait for it"
        self._thread.join(0.0 if self._ended else patience_s)
        if self._thread.is_alive() and not self._ended:
            self._ended = f"it had not ended {patience_s:.0f} s after the run"
        self._tell()

    def _work(self) -> None:
        try:
            self.tracker.start(self.run, self.settings)
            while (event := self._waiting.get()) is not None and not self._ended:
                self.tracker.event(event)
            self.tracker.close()
        except FAULTS as cause:
            self._ended = self._ended or cause_text(cause)

    def _tell(self) -> None:
        if self._ended and not self._told:
            self._told = True
            self.note(f"--log {self.name} shows no more of this run, which goes on: {self._ended}")


@contextmanager
def listening(
    trackers: Sequence[tuple[str, Tracker]],
    run: Path,
    settings: Mapping[str, Any],
    emit: Listener,
) -> Iterator[list[Listener]]:
    """Yield listeners for trackers, by their names; at the end they are closed. Notes about them go to ``emit``."""

    def note(text: str) -> None:
        emit(Event(phase="run", kind="note", text=text))

    found = [Listening(name, tracker, note, run, settings) for name, tracker in trackers]
    try:
        yield [*found]
    finally:
        for each in found:
            each.close()
