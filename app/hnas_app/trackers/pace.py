"""How fast a phase goes, and so how long it still takes."""

from __future__ import annotations

from collections import deque

from attrs import define, field

STEADY_STEPS = 3
"""Steps after the first one before a time left is shown."""
RECENT_STEPS = 20
RECENT_S = 60.0
"""The pace is that of the last steps, this many, or of the last seconds if these had more steps."""


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
