"""The events of a run in ``metrics.jsonl``, each step once, also after a kill and a resume."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import Any

from attrs import define, field

from hnas.events import Event, Listener
from hnas_app.trackers.json_lines import JsonLines

Step = tuple[str, tuple[str, ...]]
"""A phase, and the names of a step's values: a validation and a mean loss may be of one iteration."""
ANEW = ("short training",)
"""Phases that count what is still to do, from 1 in every process; nothing of theirs is repeated."""


@define
class MetricsListener:
    """Appends steps, notes and the starts and ends of phases to ``metrics.jsonl``, each with the seconds since 1970.

    A run that was killed goes on from a checkpoint, and repeats the steps after it. Those on record are left out, here
    and for the ``others``, which are called with what is new.
    """

    file: JsonLines
    clock: Callable[[], float] = time.time
    others: Iterable[Listener] = ()
    _reached: dict[Step, int] | None = field(default=None, init=False)

    def __call__(self, event: Event) -> None:
        if event.kind == "step" and not self._is_new(event):
            return
        line: dict[str, Any] = {"time": round(self.clock(), 3), "phase": event.phase, "kind": event.kind}
        if event.total or event.done:
            line |= {"done": event.done, "total": event.total}
        if event.text:
            line["text"] = event.text
        if event.values:
            line["values"] = dict(event.values)
        self.file.append(line)
        for listener in self.others:
            listener(event)

    def _is_new(self, event: Event) -> bool:
        if event.phase in ANEW:
            return True
        if self._reached is None:
            self._reached = {}
            for line in self.file.read():
                if isinstance(line, dict) and line.get("kind") == "step":
                    self._reach(str(line.get("phase")), line.get("values"), line.get("done"))
        return self._reach(event.phase, event.values, event.done)

    def _reach(self, phase: str, values: Any, done: Any) -> bool:
        """Note a step; return whether it is later than all before."""
        assert self._reached is not None
        step = phase, tuple(sorted(values)) if isinstance(values, dict) else ()
        new = isinstance(done, int) and done > self._reached.get(step, -1)
        if new:
            self._reached[step] = done
        return new
