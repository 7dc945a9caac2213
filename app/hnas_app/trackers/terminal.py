"""Listeners: a run's progress on the terminal, as plain lines if there is none, and in ``metrics.jsonl``."""

from __future__ import annotations

import sys
import time
from collections import deque
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, TextIO

from attrs import define, field

from hnas.errors import shown
from hnas.events import Event, Listener
from hnas_app.trackers.json_lines import JsonLines

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

PLAIN_EVERY_S = 5.0
"""Seconds between plain lines, besides the starts and ends of phases."""
STEADY_STEPS = 3
"""Steps after the first one before a time left is shown."""
RECENT_STEPS = 20
RECENT_S = 60.0
"""The pace is that of the last steps, this many, or of the last seconds if these had more steps."""


def display(stream: TextIO | None = None) -> LiveDisplay | PlainDisplay:
    """Return the listener that suits ``stream`` (standard error unless given): live on a terminal, else plain lines.

    It holds the terminal until it is closed.
    """
    stream = stream or sys.stderr
    return LiveDisplay(stream) if stream.isatty() else PlainDisplay(stream)


def fan_out(*listeners: Listener) -> Listener:
    """Return a listener that passes each event to all of ``listeners``, in order."""

    def emit(event: Event) -> None:
        for listener in listeners:
            listener(event)

    return emit


@define
class MetricsListener:
    """Appends steps, notes and the starts and ends of phases to ``metrics.jsonl``, each with the seconds since 1970."""

    file: JsonLines
    clock: Callable[[], float] = time.time

    def __call__(self, event: Event) -> None:
        line: dict[str, Any] = {"time": round(self.clock(), 3), "phase": event.phase, "kind": event.kind}
        if event.total or event.done:
            line |= {"done": event.done, "total": event.total}
        if event.text:
            line["text"] = event.text
        if event.values:
            line["values"] = dict(event.values)
        self.file.append(line)


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


@define
class Pace:
    """How fast a phase goes of late. Its first step is left out: that one compiles, and fills caches."""

    _marks: deque[tuple[int, float]] = field(factory=deque)
    """Steps done and the time, from the end of the first step on; later those of the last minute, or the last few."""

    def add(self, done: int, now: float) -> None:
        """Note the steps that are done by now."""
        marks = self._marks
        marks.append((done, now))
        while len(marks) > RECENT_STEPS and marks[1][1] <= now - RECENT_S:
            marks.popleft()

    def seconds(self, steps: int) -> float | None:
        """Return about how long ``steps`` steps take; ``None`` until a few have been done."""
        if not self._marks:
            return None
        (first, began), (done, now) = self._marks[0], self._marks[-1]
        return (now - began) / (done - first) * steps if done - first >= STEADY_STEPS and now > began else None


@define
class LiveDisplay:
    """A progress bar for each phase, with its latest values and the time left."""

    stream: TextIO
    _progress: Progress | None = None
    _bars: dict[str, TaskID] = field(factory=dict)

    def __call__(self, event: Event) -> None:
        progress = self._progress or self._start()
        if event.kind == "note":
            progress.console.print(shown(f"{event.phase}: {event.text}"), markup=False, highlight=False)
            return
        bar = self._bars.get(event.phase)
        if bar is None or event.kind == "start":
            bar = self._bars[event.phase] = progress.add_task(
                shown(event.phase), total=event.total or None, completed=event.done, detail=shown(event.text)
            )
        if event.kind == "step":
            # A step without a total keeps the one that the phase began with.
            progress.update(bar, completed=event.done, total=event.total or None, detail=_values(event.values))
        elif event.kind == "end":
            total = progress.tasks[progress.task_ids.index(bar)].total or 1
            progress.update(bar, completed=total, total=total, detail=_values(event.values) or shown(event.text))
            progress.stop_task(bar)

    def close(self) -> None:
        if self._progress is not None:
            self._progress.stop()
            self._progress = None

    def _start(self) -> Progress:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        self._progress = Progress(
            TextColumn("{task.description:<10}", markup=False),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TimeRemainingColumn(elapsed_when_finished=True),
            TextColumn("{task.fields[detail]}", markup=False),
            console=Console(file=getattr(self.stream, "unescaped", self.stream)),
        )
        self._progress.start()
        return self._progress


def duration(seconds: float) -> str:
    """Return a time to read: ``4.2 s``, ``3 min 20 s``, ``1 h 05 min``."""
    if round(seconds, 1) < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    return f"{minutes // 60} h {minutes % 60:02d} min"


def _left(event: Event, pace: Pace) -> str:
    left = pace.seconds(event.total - event.done) if event.total else None
    return "" if left is None else f", {duration(left)} left"


def _listed(event: Event) -> str:
    told = _values(event.values) or (event.text if event.kind == "end" else "")
    return f", {told}" if told else ""


def _values(values: Mapping[str, Any]) -> str:
    told = {name: value for name, value in values.items() if isinstance(value, int | float | str)}
    return ", ".join(f"{name.replace('_', ' ')} {_number(value)}" for name, value in told.items())


def _number(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else shown(str(value))
