"""A Raspberry Pi's word on its own supply and heat: bits that say that it slows down, now or since it was started."""

from __future__ import annotations

import re

from attrs import define

from hnas import UnsteadyError

VCGENCMD = "PATH=$PATH:/opt/vc/bin vcgencmd get_throttled 2>/dev/null"
NOW, SINCE = 0xF, 0xF0000
"""Bits 0 to 3: in this moment. Bits 16 to 19: at some time since the start."""
_MEANING = ("under-voltage", "its clock is capped", "it throttles", "it is at its soft temperature limit")


def parse(text: str) -> int | None:
    """Return the bits of ``throttled=0x50005``, or ``None`` for something else."""
    found = re.search(r"throttled=(0x[0-9a-fA-F]+)", text)
    return int(found[1], 16) if found else None


def meaning(bits: int) -> str:
    """Return bits 0 to 3 in words."""
    return ", ".join(text for i, text in enumerate(_MEANING) if bits >> i & 1)


@define
class Throttling:
    """Watches the bits. What was set before measuring began is no news; what is set since voids what was measured."""

    name: str
    before: int = 0

    def check(self, bits: int | None) -> None:
        """Raise `UnsteadyError` where the board slows down now, or did since the last look; ``None``: it is mute."""
        if bits is None:
            return
        new = bits & SINCE & ~self.before
        self.before |= bits & SINCE
        if bits & NOW or new:
            kind = "now" if bits & NOW else "a moment ago"
            raise UnsteadyError(
                f"{self.name} slowed down {kind}: {meaning(bits & NOW or new >> 16)} (get_throttled 0x{bits:x})",
                hint="give it a stronger power supply, a heat sink or a rest; what was measured before is kept",
            )
