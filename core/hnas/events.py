"""Events: what a run reports while it goes on. The terminal, ``metrics.jsonl`` and trackers listen."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from attrs import field, frozen

Phase = str
"""``meta-train``, ``profile``, ``adapt``, ``retrain`` or ``evaluate``; ``run`` for notes that concern none of them."""


@frozen(kw_only=True)
class Event:
    """Something that happened in a phase.

    ``kind`` is ``start`` (``total`` steps are to come), ``step`` (``done`` of them are finished; ``values`` hold loss,
    accuracy, best cost and the like), ``note`` (a sentence for the user) or ``end``.
    """

    phase: Phase
    kind: str
    done: int = 0
    total: int = 0
    text: str = ""
    values: Mapping[str, Any] = field(factory=dict)


Listener = Callable[[Event], None]


class Tracker(ABC):
    """Shows runs elsewhere by their events, if ``--log NAME`` chooses it. It never touches a run.

    All calls come from one thread of its own. What they raise, or that they take too long, ends the tracking with a
    note to the user.
    """

    @abstractmethod
    def start(self, run: Path, settings: Mapping[str, Any]) -> None:
        """Begin, or go on after a resume: called once, first, with the run directory and its settings by dotted key."""

    @abstractmethod
    def event(self, event: Event) -> None:
        """Take an event; a step that a resumed run repeats comes once. Values are numbers, texts, ``None``, nested."""

    @abstractmethod
    def close(self) -> None:
        """Write what is left. Called once, last, after errors and interruptions, too."""
