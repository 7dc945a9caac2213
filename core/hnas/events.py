"""Events: what a run reports while it goes on. The terminal and ``metrics.jsonl`` listen."""

from __future__ import annotations

from collections.abc import Callable, Mapping
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
