"""Whether now is a time to measure: what was seen of a board beforehand, and what speaks against it."""

from __future__ import annotations

from typing import Any

from hnas import DeviceError
from hnas_backends.arm.throttling import NOW, SINCE, meaning
from hnas_backends.layerbench.lines import Hello

MAX_LOAD = 0.5
"""Processes that want to run, for each core, over the last minute."""


def refuse_busy(name: str, hello: Hello, cpus: int) -> None:
    """Raise `DeviceError` where other work would be measured too."""
    if is_busy(hello, cpus):
        raise DeviceError(
            f"{name} is busy: its load is {hello.load:.2f} on {cpus} cores; at most {MAX_LOAD:g} for each core "
            "gives times worth keeping",
            hint="end what runs there (`top` shows it); the load falls within a minute or two, also after a profile. "
            "To measure all the same: --set backend.force=true",
        )


def is_busy(hello: Hello, cpus: int) -> bool:
    """Tell whether the load is above what gives times worth keeping; where it cannot be read, no."""
    return hello.load is not None and hello.load > MAX_LOAD * cpus


def conditions(hello: Hello, cpus: int, throttled: int | None) -> dict[str, Any]:
    """Return what was seen and may be otherwise next time, with ``warnings``: sentences for the user."""
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
            f"the governor is {hello.governor or 'not known'}, so that the clock changes; on the device: "
            "echo performance | sudo tee /sys/devices/system/cpu/cpu*/cpufreq/scaling_governor"
        )
    if is_busy(hello, cpus):
        found.append(f"the load is {hello.load:.2f} on {cpus} cores: other work is measured too")
    if throttled is not None and throttled & NOW:
        found.append(f"it slows itself down: {meaning(throttled & NOW)}")
    elif throttled is not None and throttled & SINCE:
        found.append(f"since its start it slowed itself down: {meaning(throttled >> 16 & NOW)}")
    return found
