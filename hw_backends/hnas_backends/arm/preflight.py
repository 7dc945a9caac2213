"""Check whether a board is fit to measure now: read its state, and list the reasons against it.

A Raspberry Pi reports its supply and heat: bits for a slow-down now, and for one since it was started.
"""

from __future__ import annotations

import re
from typing import Any

from attrs import define

from hnas import DeviceError, UnsteadyError
from hnas_backends.layerbench.lines import Hello

MAX_LOAD = 0.5
"""Runnable processes per core, over the last minute."""
VCGENCMD = "PATH=$PATH:/opt/vc/bin vcgencmd get_throttled 2>/dev/null"
NOW, SINCE = 0xF, 0xF0000
"""Bits 0 to 3: at this moment. Bits 16 to 19: at some time since the start."""
_MEANING = ("under-voltage", "its clock is capped", "it throttles", "it is at its soft temperature limit")


def refuse_busy(name: str, hello: Hello, cpus: int) -> None:
    """Raise `DeviceError` if other work would be measured too."""
    if is_busy(hello, cpus):
        raise DeviceError(
            f"{name} is busy: its load is {hello.load:.2f} on {cpus} cores; at most {MAX_LOAD:g} for each core "
            "gives reliable times",
            hint="end what runs there (`top` shows it); the load falls within a minute or two, also after a profile. "
            "To measure anyway: --set backend.force=true",
        )


def is_busy(hello: Hello, cpus: int) -> bool:
    """Return whether the load is too high for reliable times; false if it cannot be read."""
    return hello.load is not None and hello.load > MAX_LOAD * cpus


def conditions(hello: Hello, cpus: int, throttled: int | None) -> dict[str, Any]:
    """Return the state of the board, which may change, with ``warnings``: sentences for the user."""
    return {
        "system": hello.system,
        "governor": hello.governor or None,
        "khz": hello.khz,
        "temp_c": hello.temp_c,
        "throttled": None if throttled is None else f"0x{throttled:x}",
        "load": hello.load,
        "cpus": cpus,
        "cpu": hello.cpu,
        "ram_mb": hello.ram_kb // 1024,
        "clock_step_ns": hello.clock_step_ns,
        "warnings": _warnings(hello, cpus, throttled),
    }


def _warnings(hello: Hello, cpus: int, throttled: int | None) -> list[str]:
    found = []
    if hello.governor != "performance":
        found.append(
            f"the governor is {hello.governor or 'not known'}, so the clock changes; on the device: "
            "echo performance | sudo tee /sys/devices/system/cpu/cpu*/cpufreq/scaling_governor"
        )
    if is_busy(hello, cpus):
        found.append(f"the load is {hello.load:.2f} on {cpus} cores: other work is measured too")
    if throttled is not None and throttled & NOW:
        found.append(f"it slows itself down: {meaning(throttled & NOW)}")
    elif throttled is not None and throttled & SINCE:
        found.append(f"since its start it slowed itself down: {meaning(throttled >> 16 & NOW)}")
    return found


def parse(text: str) -> int | None:
    """Return the bits of ``throttled=0x50005``, or ``None`` for something else."""
    found = re.search(r"throttled=(0x[0-9a-fA-F]{1,8})\b", text)
    return int(found[1], 16) if found else None


def meaning(bits: int) -> str:
    """Return bits 0 to 3 in words."""
    return ", ".join(text for i, text in enumerate(_MEANING) if bits >> i & 1)


@define
class Throttling:
    """Watches the bits. Those set before measuring are ignored; one set since then invalidates the measurements."""

    name: str
    before: int = 0

    def check(self, bits: int | None) -> None:
        """Raise `UnsteadyError` if the board slows down now, or did since the last check; ``None``: not reported."""
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
