"""Conformance tests for trackers: every kind of event, a resumed run, and a run that stays as it is."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from hnas.events import Event, Tracker
from hnas_app.testing.conformance import Conformance
from hnas_app.testing.expectation import ending, expect

SETTINGS = {"space.name": "vgg9", "seed": 0, "search.tasks": 16, "constraints": ("params<=70K",), "preset": "quick"}
EVENTS = (
    Event(phase="meta-train", kind="start", total=4),
    Event(phase="meta-train", kind="step", done=2, total=4, values={"loss": 1.5, "accuracy": 0.25, "epoch": 1}),
    Event(phase="meta-train", kind="step", done=3, total=4, values={"loss": float("inf"), "best": None}),
    Event(phase="meta-train", kind="note", text="a sentence – with more than ASCII"),
    Event(phase="retrain finalist-2", kind="step", done=1, values={}),
    Event(phase="adapt", kind="step", done=1, total=9, values={"best_cost": {"params": 10.0}, "replayed": False}),
    Event(phase="evaluate", kind="step", done=1, total=3, values={"network": "found", "accuracy": 0.5}),
    Event(phase="meta-train", kind="end", done=4, total=4, values={"accuracy": 0.5}),
)


class TrackerConformance(Conformance[Tracker]):
    """Tests of a tracker.

    pytest collects subclasses whose names begin with ``Test``.
    """

    @abstractmethod
    def make(self) -> Tracker:
        """Return a new tracker. What it needs elsewhere, such as a server, has to be there."""

    def test_takes_every_kind_of_event(self) -> None:
        """Values may be infinite, missing, nested or texts; a phase may have a name of two words."""
        with TemporaryDirectory() as folder:
            self._follow(Path(folder), dict(SETTINGS))

    def test_goes_on_with_a_resumed_run(self) -> None:
        """Another process calls `start` for the same run directory, and tells of later steps."""
        with TemporaryDirectory() as folder:
            self._follow(Path(folder), dict(SETTINGS))
            self._follow(Path(folder), dict(SETTINGS))

    def test_closes_without_an_event(self) -> None:
        """A run may stop before its first step."""
        with TemporaryDirectory() as folder:
            tracker = self.make()
            with ending("a tracker that can be closed at once", "open files when they are needed"):
                tracker.start(Path(folder), dict(SETTINGS))
                tracker.close()

    def test_leaves_the_run_as_it_is(self) -> None:
        """What it writes into the run directory are files of its own; settings and events are not its to change."""
        with TemporaryDirectory() as folder:
            files = {Path(folder) / name: f"{name} of the run" for name in ("run.json", "metrics.jsonl", "config.toml")}
            for path, text in files.items():
                path.write_text(text)
            settings = dict(SETTINGS)
            self._follow(Path(folder), settings)
            found = {path: path.read_text() if path.exists() else None for path in files}
            expect(found == files, f"the files of the run: {files}", found, "write into a file or folder of your own")
            expect(settings == SETTINGS, f"settings as they were: {SETTINGS}", settings, "copy what you change")
            expect(EVENTS[1].values == {"loss": 1.5, "accuracy": 0.25, "epoch": 1}, "events as they were",
                   EVENTS[1].values, "copy what you change")  # fmt: skip

    def _follow(self, run: Path, settings: Mapping[str, Any]) -> None:
        tracker = self.make()
        with ending("a tracker that starts, with a new run and with a resumed one", "keep what is there already"):
            tracker.start(run, settings)
        for event in EVENTS:
            with ending(f"a tracker that takes {event}", "leave out what cannot be shown"):
                tracker.event(event)
        with ending("a tracker that closes", "write what is left, and give files back"):
            tracker.close()
