"""The live display: where the run is, a bar, and the latest values, in few short lines on a terminal."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, TextIO

from attrs import define, field

from hnas.errors import shown
from hnas.events import Event
from hnas_app.trackers.pace import Pace
from hnas_app.trackers.wording import DOING, duration, listed, roughly

if TYPE_CHECKING:
    from rich.console import Console
    from rich.live import Live
    from rich.text import Text

WIDEST = 59
"""Columns that the display takes at most. A terminal that is made narrower re-wraps longer lines, and the rows that
this adds would stay behind: so nothing does down to 60 columns."""
DRAW_EVERY_S = 0.25
MOST_BARS = 4
"""Bars at once: several devices are measured at the same time."""
_PLAIN = str.maketrans("━─", "#-")
"""For terminals that show ASCII only."""
COLLAPSED = "retrain"
"""The phase of many trainings, which end in one line together."""


@define
class Bar:
    """A phase, or a part of one, at work."""

    began: float
    done: int = 0
    total: int = 0
    detail: str = ""
    pace: Pace = field(factory=Pace)

    @property
    def count(self) -> str:
        return f"{self.done:,}/{self.total:,}" if self.total else f"{self.done:,}"


@define
class LiveDisplay:
    """Shows the phases at work, and leaves a line for each that ended; notes and what others print go above.

    ``phases`` are those of the command in their order, if the display is to number them.
    """

    stream: TextIO
    phases: Sequence[str] = ()
    clock: Callable[[], float] = time.monotonic
    console: Console | None = None
    """By default one on ``stream``."""
    _live: Live | None = None
    _bars: dict[str, Bar] = field(factory=dict)
    _latest: str = ""
    _drawn: float = float("-inf")
    _collapsed: list[float] = field(factory=list)
    """When the trainings that are told of in one line began and ended."""
    _names: set[str] = field(factory=set)

    def __call__(self, event: Event) -> None:
        live = self._live or self._start()
        now = self.clock()
        if event.kind == "note":
            self._print(f"{event.phase}: {event.text}")
            return live.refresh()
        if self._collapsed and _top(event.phase) != COLLAPSED:
            self._tell_collapsed()
        bar = self._bars.get(event.phase)
        due = event.kind != "step" or bar is None or now - self._drawn >= DRAW_EVERY_S
        if bar is None or event.kind == "start":
            bar = self._bars[event.phase] = Bar(now, event.done, event.total, shown(event.text))
        self._latest = event.phase
        if event.kind == "step":
            # A step without a total keeps the one that the phase began with.
            bar.done, bar.total, bar.detail = event.done, event.total or bar.total, listed(event.values)
            bar.pace.add(event.done, now)
        elif event.kind == "end":
            self._end(self._bars.pop(event.phase), event, now)
        if due:  # steps may come by the thousand
            self._drawn = now
            live.refresh()

    def close(self) -> None:
        """Give the terminal back: what is printed next stands below the lines of the phases."""
        if self._live is not None:
            if self._collapsed:
                self._tell_collapsed()
            stopped, self._bars = self._bars, {}
            for name, bar in stopped.items():
                self._print(f"{name}: stopped at {bar.count}")
            self._live.stop()
            self._live = None

    def lines(self, width: int) -> list[str]:
        """Return what is shown on a terminal of so many columns: the place, a bar for each part at work, the values."""
        bars = dict([*self._bars.items()][-MOST_BARS:])
        if not bars:
            return []
        width, latest = min(width - 1, WIDEST), bars.get(self._latest)
        found = [self._place(bars), *(self._bar(name, bar, width, several=len(bars) > 1) for name, bar in bars.items())]
        return [_cut(line, width) for line in [*found, *([latest.detail] if latest and latest.detail else [])]]

    def _place(self, bars: Mapping[str, Bar]) -> str:
        """Return where the run is, and for how long the phase still lasts."""
        name = [*bars][-1]
        top = _top(name)
        nth = f"phase {self.phases.index(top) + 1} of {len(self.phases)}: " if top in self.phases else ""
        part = "" if len(bars) > 1 else f" {name.removeprefix(top).strip()}".rstrip()
        left = [s for bar in bars.values() if bar.total and (s := bar.pace.seconds(bar.total - bar.done)) is not None]
        spent = self.clock() - min(bar.began for bar in bars.values())
        lasts = f"about {roughly(max(left))} left" if left else f"{roughly(spent)} so far"
        return f"{nth}{DOING.get(top, top)}{part}, {lasts}"

    @staticmethod
    def _bar(name: str, bar: Bar, width: int, *, several: bool) -> str:
        label = f"{_cut(name.removeprefix(_top(name)).strip() or name, 20):<20} " if several else ""
        room = max(4, width - len(label) - len(bar.count) - 1)
        filled = min(room, room * bar.done // bar.total) if bar.total else 0
        return f"{label}{'━' * filled}{'─' * (room - filled)} {bar.count}"

    def _end(self, bar: Bar, event: Event, now: float) -> None:
        told = listed(event.values) or shown(event.text)
        if _top(event.phase) == COLLAPSED:
            self._collapsed += [bar.began, now]
            self._names.add(event.phase)
        elif event.phase != "short training":
            self._print(f"{event.phase}: done in {duration(now - bar.began)}{f', {told}' if told else ''}")

    def _tell_collapsed(self) -> None:
        took, n = duration(max(self._collapsed) - min(self._collapsed)), len(self._names)
        self._print(f"{COLLAPSED}: {n} network{'s' * (n > 1)} in {took}")
        self._collapsed.clear()
        self._names.clear()

    def _print(self, text: str) -> None:
        """Print above the bar; sentences are broken between words, commands to copy are not."""
        assert self.console is not None
        self.console.print(shown(text), markup=False, highlight=False, soft_wrap="hnas " in text)

    def _start(self) -> Live:
        from rich.console import Console
        from rich.live import Live

        # Without soft wrapping, rich would break what others print meanwhile into lines: commands, paths.
        out = getattr(self.stream, "unescaped", self.stream)
        self.console = self.console or Console(file=out, soft_wrap=True, highlight=False)
        shared = sys.stdout is not None and sys.stdout.isatty()  # what goes into a file stays there
        # No thread of its own draws: between the drawing of a line above and of the bar, lines would stay behind.
        self._live = Live(
            get_renderable=self._frame, console=self.console, transient=True, auto_refresh=False, redirect_stdout=shared
        )
        self._live.start()
        return self._live

    def _frame(self) -> Text:
        """Return the lines in colours; rich calls it to draw them."""
        from rich.text import Text

        assert self.console is not None
        text = "\n".join(self.lines(self.console.width))
        if not self.console.encoding.lower().startswith("utf"):
            text = text.translate(_PLAIN)
        found = Text(text, no_wrap=True)
        found.highlight_regex("━+", "green")
        found.highlight_regex("─+", "bright_black")
        return found


def _top(phase: str) -> str:
    """Return the phase that a part belongs to: ``retrain`` of ``retrain scaled``."""
    return "adapt" if phase == "short training" else phase.partition(" ")[0]


def _cut(text: str, width: int) -> str:
    from rich.cells import cell_len, set_cell_size

    return text if cell_len(text) <= width else f"{set_cell_size(text, width - 1).rstrip()}…"
