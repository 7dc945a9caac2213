"""Progress in words: times, and the values of an event."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hnas.errors import shown

DOING = {
    "profile": "measuring",
    "meta-train": "meta-training",
    "adapt": "searching",
    "short training": "searching",
    "retrain": "re-training",
    "evaluate": "testing",
}
"""What a run does in each phase, for people."""
_NAMED = {"evaluated": "{} networks", "searches": "{} searches", "proposed": "{} proposed"}
"""Counts that are told with what they count."""
_UNTOLD = ("replayed",)
"""Values for ``metrics.jsonl`` only."""


def duration(seconds: float) -> str:
    """Return a time to read: ``4.2 s``, ``3 min 20 s``, ``1 h 05 min``."""
    if round(seconds, 1) < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    return f"{minutes // 60} h {minutes % 60:02d} min"


def roughly(seconds: float) -> str:
    """Return a time that is only an estimate: ``20 s``, ``4 min``, ``1 h 05 min``."""
    if seconds < 60:
        return f"{max(1, round(seconds))} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"


def listed(values: Mapping[str, Any]) -> str:
    """Return the values of an event that can be told in a line; accuracies are in percent."""
    told = {k: v for k, v in values.items() if isinstance(v, int | float | str) and k not in _UNTOLD}
    return ", ".join(_named(name, _text(name, value)) for name, value in told.items())


def _named(name: str, text: str) -> str:
    return _NAMED[name].format(text) if name in _NAMED else f"{name.replace('_', ' ')} {text}"


def _text(name: str, value: float | str) -> str:
    if isinstance(value, str):
        return shown(value)
    if name.endswith("accuracy"):
        return f"{100 * value:.1f} %"
    return f"{value:.4g}" if isinstance(value, float) else f"{value:,}"
