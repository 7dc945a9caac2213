"""The live display: place, bar, count and time left at any width, and lines of others that stay whole."""

from __future__ import annotations

import io
import re
import sys

import pytest
from rich.cells import cell_len
from rich.console import Console

from hnas.events import Event
from hnas_app.trackers.live import WIDEST, LiveDisplay

PHASES = ("profile", "meta-train", "adapt", "retrain", "evaluate")
VALUES = {
    "best_loss": 1.23456,
    "best_accuracy": 0.5123,
    "best_cost": {"latency": 1.0},
    "evaluated": 520,
    "replayed": False,
}


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def searching(width: int, steps: int = 13) -> tuple[LiveDisplay, Console]:
    """Return a display of a search after some steps of a minute each, on a console of so many columns."""
    clock = Clock()
    console = Console(file=io.StringIO(), width=width, height=40, force_terminal=True, record=True, soft_wrap=True)
    live = LiveDisplay(io.StringIO(), PHASES, clock, console)
    live(Event(phase="adapt", kind="start", total=20))
    for i in range(1, steps + 1):
        clock.now += 60
        live(Event(phase="adapt", kind="step", done=i, total=20, values={**VALUES, "evaluated": 40 * i}))
    return live, console


def printed(console: Console) -> list[str]:
    """Return what was written, without the codes that steer the terminal."""
    return re.split(r"(?:\r|\n|\x1b\[[0-9;?]*[a-zA-Z])+", console.file.getvalue())


@pytest.mark.parametrize("width", [80, 60, 44])
def test_the_place_the_bar_the_count_and_the_time_left_are_there_at_any_width(width):
    live, console = searching(width)
    place, bar, *details = live.lines(width)
    assert place == "phase 3 of 5: searching, about 7 min left"
    assert bar.startswith("━━━━")
    assert bar.endswith("── 13/20")
    assert all(cell_len(line) < width for line in [place, bar, *details])
    drawn = console.export_text()
    assert place in drawn
    assert bar in drawn
    live.close()


def test_details_are_cut_with_an_ellipsis_and_hold_no_internal_words():
    live, _ = searching(80)
    (details,) = live.lines(80)[2:]
    assert details == "best loss 1.235, best accuracy 51.2 %, 520 networks"
    assert live.lines(30)[2] == "best loss 1.235, best accura…"
    live.close()


def test_a_terminal_made_as_narrow_as_60_columns_wraps_no_line_that_is_shown():
    """A wrapped line takes a second row, which the next drawing does not clear."""
    live, _ = searching(200)
    assert max(map(cell_len, live.lines(200))) <= WIDEST < 60
    live.close()


def test_what_others_print_meanwhile_is_not_broken_into_lines():
    live, console = searching(60)
    command = "next: hnas adapt runs/20260101-000000-vgg9-eyeriss-abcdef --constraint 'latency<=0.05ms'"
    print(command, file=sys.stderr)
    live(Event(phase="adapt", kind="note", text=command))
    live.close()
    assert [line for line in printed(console) if "next: " in line] == [command, f"adapt: {command}"]


def test_what_goes_into_a_file_is_not_drawn_above_the_bar(monkeypatch):
    file = io.StringIO()
    monkeypatch.setattr(sys, "stdout", file)
    live, _ = searching(80)
    print("a result")
    live.close()
    assert file.getvalue() == "a result\n"


def test_each_phase_leaves_one_line_and_all_trainings_together_do():
    live, console = searching(80)
    live(Event(phase="adapt", kind="end", done=20, total=20))
    for name in ("retrain", "retrain scaled", "retrain", "retrain scaled"):
        live(Event(phase=name, kind="start", total=4))
        assert live.lines(80)[0].startswith(f"phase 4 of 5: re-training{name[7:]}, ")
        live.clock.now += 15
        live(Event(phase=name, kind="end", done=4, total=4))
    live(Event(phase="evaluate", kind="start", total=7))
    live(Event(phase="evaluate", kind="end", values={"accuracy": 0.88}))
    live.close()
    ended = [line for line in printed(console) if " in " in line]
    assert ended == [
        "adapt: done in 13 min 00 s",
        "retrain: 2 networks in 1 min 00 s",
        "evaluate: done in 0.0 s, accuracy 88.0 %",
    ]


def test_devices_that_are_measured_at_once_have_a_bar_each():
    live, _ = searching(80)
    live._bars.clear()
    live(Event(phase="profile arm:pi4", kind="start", total=1000))
    live(Event(phase="profile eyeriss", kind="start", total=10))
    place, *bars = live.lines(60)
    assert place == "phase 1 of 5: measuring, 1 s so far"
    assert [bar.split()[0] for bar in bars] == ["arm:pi4", "eyeriss"]
    assert [bar.split()[-1] for bar in bars] == ["0/1,000", "0/10"]
    live.close()


def test_a_thousand_steps_are_drawn_four_times_a_second():
    live, console = searching(80, steps=1)
    before = console.file.getvalue().count("1/20")
    for _ in range(1000):
        live.clock.now += 0.001
        live(Event(phase="adapt", kind="step", done=1, total=20))
    assert console.file.getvalue().count("1/20") - before <= 4
    live.close()


def test_the_terminal_is_given_back_with_nothing_left_of_the_bar():
    live, console = searching(80)
    live.close()
    assert "adapt: stopped at 13/20" in printed(console)
    text = console.file.getvalue()
    assert "\x1b[?25h" in text[-40:]  # the cursor is shown again
    assert text.count("\x1b[2K") >= 3  # the three lines are erased
    assert type(sys.stderr).__name__ != "FileProxy"
