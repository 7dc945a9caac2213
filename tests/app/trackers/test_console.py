"""What a run shows: plain lines that do not flood a log, a live bar on a terminal, and metrics for readers."""

from __future__ import annotations

import io
import os
import pty
import select

from hnas.events import Event
from hnas_app.cli.streams import Shown
from hnas_app.trackers.json_lines import JsonLines
from hnas_app.trackers.live import LiveDisplay
from hnas_app.trackers.metrics import MetricsListener
from hnas_app.trackers.terminal import PlainDisplay, display, fan_out
from hnas_app.trackers.wording import duration


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def step(done: int, **values: object) -> Event:
    return Event(phase="meta-train", kind="step", done=done, total=100, values=values)


def test_plain_lines_come_at_starts_ends_and_every_five_seconds():
    stream, clock = io.StringIO(), Clock()
    plain = PlainDisplay(stream, clock)
    plain(Event(phase="meta-train", kind="start", total=100))
    for i in range(1, 101):
        clock.now += 0.25
        plain(step(i, loss=1 / i))
    plain(Event(phase="meta-train", kind="note", text="NaN seen"))
    plain(Event(phase="meta-train", kind="end", values={"accuracy": 0.5}))
    assert stream.getvalue().splitlines() == [
        "meta-train: started: 100 steps",
        "meta-train: 20/100, loss 0.05, 20.0 s left",
        "meta-train: 40/100, loss 0.025, 15.0 s left",
        "meta-train: 60/100, loss 0.01667, 10.0 s left",
        "meta-train: 80/100, loss 0.0125, 5.0 s left",
        "meta-train: 100/100, loss 0.01, 0.0 s left",
        "meta-train: NaN seen",
        "meta-train: done in 25.0 s, accuracy 50.0 %",
    ]


def test_the_time_left_of_a_resumed_phase_counts_its_own_steps_only():
    stream, clock = io.StringIO(), Clock()
    plain = PlainDisplay(stream, clock)
    plain(Event(phase="meta-train", kind="start", done=50, total=100))
    for i in range(51, 61):
        clock.now += 1.0
        plain(step(i))
    assert stream.getvalue().splitlines() == [
        "meta-train: started: 100 steps, going on from 50",
        "meta-train: 55/100, 45.0 s left",
        "meta-train: 60/100, 40.0 s left",
    ]


def left_after(*seconds: float) -> list[str]:
    """Tell of a step after each time; return what the lines say of the time left."""
    stream, clock = io.StringIO(), Clock()
    plain = PlainDisplay(stream, clock)
    plain(Event(phase="meta-train", kind="start", total=100))
    for i, wait in enumerate(seconds, 1):
        clock.now += wait
        plain(step(i))
    return [line.partition(", ")[2] for line in stream.getvalue().splitlines()[1:]]


def test_the_first_step_which_compiles_is_no_measure_of_the_others():
    """The first line said five hours, and the phase took ten minutes."""
    assert left_after(180.0, 5.0, 5.0, 5.0, 5.0) == ["", "", "", "8 min 00 s left", "7 min 55 s left"]


def test_under_drift_the_time_left_follows_the_recent_pace():
    """A machine that others have left is still judged by the slow hour before."""
    assert left_after(*[60.0] * 10, *[6.0] * 30)[-1] == "6 min 00 s left"


def test_a_phase_of_slow_steps_tells_a_time_left_too():
    assert left_after(*[600.0] * 5)[-1] == "15 h 50 min left"


def test_without_a_terminal_lines_are_plain():
    assert isinstance(display(io.StringIO()), PlainDisplay)


def written(leader: int) -> str:
    """Return what stands in a pseudo-terminal, which a read gives in parts."""
    found = b""
    while select.select([leader], [], [], 0.1)[0]:
        found += os.read(leader, 1 << 16)
    return found.decode()


def test_on_a_terminal_the_bar_shows_phase_values_and_notes():
    leader, follower = pty.openpty()
    with os.fdopen(follower, "w") as stream:
        live = display(stream)
        assert isinstance(live, LiveDisplay)
        live(Event(phase="meta-train", kind="start", total=100))
        live(step(42, loss=0.125, accuracy=0.5))
        live(Event(phase="meta-train", kind="note", text="going on from [state-1]"))
        live(Event(phase="meta-train", kind="end", values={"accuracy": 0.75}))
        live(Event(phase="profile", kind="step", done=1, total=3))  # a phase whose start was not seen
        live.close()
        live.close()
        shown = written(leader)
    os.close(leader)
    for part in ("meta-train", "42/100", "accuracy 75.0 %", "going on from [state-1]", "measuring", "1/3"):
        assert part in shown


def test_the_bar_steers_the_terminal_and_nothing_else_does():
    """A board's warning or a network's name may hold anything; the bar's own codes must arrive as they are."""
    hostile = "\x1b]0;title\x07\x9b2J\u202e\udcff"
    leader, follower = pty.openpty()
    with os.fdopen(follower, "w") as stream:
        live = LiveDisplay(Shown(stream))
        live(Event(phase="profile", kind="start", total=2, text=hostile))
        live(Event(phase="profile", kind="step", done=1, total=2, values={"network": hostile}))
        live(Event(phase="profile", kind="note", text=hostile))
        live(Event(phase="profile", kind="end", text=hostile))
        live.close()
        shown = written(leader)
    os.close(leader)
    assert "\x1b[" in shown
    assert r"\x1b]0;title\x07\x9b2J\u202e\udcff" in shown
    assert not any(sign in shown for sign in ("\x1b]", "\x07", "\x9b", "\u202e"))


def test_metrics_are_lines_that_can_be_read_back(tmp_path):
    lines, clock = JsonLines(tmp_path / "metrics.jsonl"), Clock()
    seen: list[Event] = []
    emit = fan_out(MetricsListener(lines, clock), seen.append)
    emit(Event(phase="meta-train", kind="start", total=100))
    emit(step(1, loss=0.5))
    emit(Event(phase="meta-train", kind="note", text="hello"))
    assert list(lines.read()) == [
        {"time": 0.0, "phase": "meta-train", "kind": "start", "done": 0, "total": 100},
        {"time": 0.0, "phase": "meta-train", "kind": "step", "done": 1, "total": 100, "values": {"loss": 0.5}},
        {"time": 0.0, "phase": "meta-train", "kind": "note", "text": "hello"},
    ]
    assert len(seen) == 3


def test_durations_are_readable():
    assert [duration(s) for s in (4.21, 59.96, 200, 3599.6, 3900)] == [
        "4.2 s",
        "1 min 00 s",
        "3 min 20 s",
        "1 h 00 min",
        "1 h 05 min",
    ]
