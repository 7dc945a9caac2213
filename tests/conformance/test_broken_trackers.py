"""The suite catches a broken tracker, whatever is broken: one test fails, the one that is meant for it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from hnas import Event, Tracker
from hnas.testing import TrackerConformance


class Lines(Tracker):
    """Nothing is wrong with it."""

    def start(self, run: Path, settings: Any) -> None:
        self.path = run / "lines.txt"

    def event(self, event: Event) -> None:
        with self.path.open("a") as file:
            file.write(f"{event.phase} {event.done}\n")

    def close(self) -> None:
        pass


class RoundsTexts(Lines):
    """Not every value is a number."""

    def event(self, event: Event) -> None:
        for value in event.values.values():
            round(value, 3)


class BeginsAnew(Lines):
    """A resumed run has its file already."""

    def start(self, run: Path, settings: Any) -> None:
        super().start(run, settings)
        self.path.touch(exist_ok=False)


class OpensAtTheFirstEvent(Lines):
    """Nothing is open if there was none."""

    def event(self, event: Event) -> None:
        self.file = self.path.open("a")
        self.file.close()

    def close(self) -> None:
        self.file.close()


class Renames(Lines):
    """Its file is one of the run's."""

    def start(self, run: Path, settings: Any) -> None:
        self.path = run / "metrics.jsonl"


class Pops(Lines):
    """The settings are the run's."""

    def start(self, run: Path, settings: Any) -> None:
        super().start(run, settings)
        settings.pop("seed", None)


BROKEN = {
    RoundsTexts: "test_takes_every_kind_of_event",
    BeginsAnew: "test_goes_on_with_a_resumed_run",
    OpensAtTheFirstEvent: "test_closes_without_an_event",
    Renames: "test_leaves_the_run_as_it_is",
    Pops: "test_leaves_the_run_as_it_is",
}


@pytest.mark.parametrize("broken", BROKEN, ids=lambda cls: cls.__name__)
def test_a_broken_tracker_fails_the_test_for_it(broken, failures, expect_only):
    failed = failures(TrackerConformance, broken)
    if broken is RoundsTexts:  # no test gets past the first event
        failed = {BROKEN[broken]: failed[BROKEN[broken]]}
    expect_only(failed, BROKEN[broken])


def test_nothing_is_said_against_a_good_one(failures):
    assert failures(TrackerConformance, Lines) == {}


def test_every_test_has_a_broken_tracker():
    tests = {name for name in dir(TrackerConformance) if name.startswith("test_") and "options" not in name}
    assert tests - set(BROKEN.values()) == set()
