"""What a check of a plugin has found."""

from __future__ import annotations

from typing import Literal

from attrs import frozen

Level = Literal["ok", "hint", "warning", "failed"]


@frozen
class Finding:
    """The finding of one check. Only ``failed`` makes a plugin unusable."""

    level: Level
    check: str
    told: str
