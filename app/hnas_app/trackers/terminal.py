"""Listeners: a run's progress on the terminal, as plain lines if there is none."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Sequence
from typing import TextIO

from attrs import define, field

from hnas.events import Event, Listener
from hnas_app.trackers.live import LiveDisplay
from hnas_app.trackers.pace import Pace
from hnas_app.trackers.wording import duration, listed

PLAIN_EVERY_S = 5.0
"""Seconds between plain lines, besides the starts and ends of phases."""


def display(stream: TextIO | None = None, phases: Sequence[str] = ()) -> LiveDisplay | PlainDisplay:
    """Return the listener that suits ``stream`` (standard error unless given): live on a terminal, else plain lines.

    It holds the terminal until it is closed. ``phases`` are those of the command, which a live one numbers.
    """
    stream = stream or sys.stderr
    live = stream.isatty() and os.environ.get("TERM") not in ("dumb", "unknown")  # nothing steers such a terminal
    return LiveDisplay(stream, phases) if live else PlainDisplay(stream)


def fan_out(*listeners: Listener) -> Listener:
    """Return a listener that passes each event to all of ``listeners``, in order."""

    def emit(event: Event) -> None:
        for listener in listeners:
            listener(event)

    return emit


@define
class PlainDisplay:
    """One line at most every `PLAIN_EVERY_S` seconds, for logs."""

    stream: TextIO
    clock: Callable[[], float] = time.monotonic
    _began: dict[str, float] = field(factory=dict)
    _paces: dict[str, Pace] = field(factory=dict)
    _printed: float = float("-inf")

    def __call__(self, event: Event) -> None:
        now = self.clock()
        pace = self._paces.setdefault(event.phase, Pace())
        if event.kind == "step":
            pace.add(event.done, now)
        if event.kind == "start":
            self._began[event.phase], self._paces[event.phase] = now, Pace()
            text = event.text or (f"{event.total} steps" if event.total else "")
            if event.done:
                text += f", going on from {event.done}"
            self._print(f"{event.phase}: started{': ' if text else ''}{text}", now)
        elif event.kind == "note":
            self._print(f"{event.phase}: {event.text}", self._printed)
        elif event.kind == "end":
            began = self._began.get(event.phase, now)
            self._print(f"{event.phase}: done in {duration(now - began)}{_listed(event)}", now)
        elif now - self._printed >= PLAIN_EVERY_S:
            self._print(f"{event.phase}: {event.done}/{event.total}{_listed(event)}{_left(event, pace)}", now)

    def close(self) -> None:
        self.stream.flush()

    def _print(self, text: str, now: float) -> None:
        print(text, file=self.stream, flush=True)
        self._printed = now


def _left(event: Event, pace: Pace) -> str:
    left = pace.seconds(event.total - event.done) if event.total else None
    return "" if left is None else f", {duration(left)} left"


def _listed(event: Event) -> str:
    told = listed(event.values) or (event.text if event.kind == "end" else "")
    return f", {told}" if told else ""
