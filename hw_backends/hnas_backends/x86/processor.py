"""This machine's processor: what it is, the core to measure on, and the state it is in."""

from __future__ import annotations

import os
import platform
from pathlib import Path
from typing import Any

from hnas import DeviceError

MACHINES = frozenset({"x86_64", "amd64", "i386", "i686"})


def check_machine() -> None:
    """Raise `DeviceError` on anything but x86."""
    machine = platform.machine()
    if machine.lower() not in MACHINES:
        raise DeviceError(
            f"the backend x86 measures the machine that it runs on, and this one is {machine or 'of an unknown kind'}",
            hint="--backend arm measures an ARM device, this one included if it can be reached by ssh",
        )


def model() -> str:
    """Return the processor's name."""
    return _cpuinfo("model name") or platform.processor() or platform.machine()


def chosen_core(device: str) -> int:
    """Return the core that the option names, or the last one. Raises `DeviceError` if it may not be used."""
    allowed = sorted(os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else range(os.cpu_count() or 1))
    if not device:
        return allowed[-1]
    if int(device) not in allowed:
        raise DeviceError(
            f"core {device} does not exist here or is not for this process, which may use "
            f"{', '.join(map(str, allowed))}",
            hint="choose one of these, as in --backend x86:" + str(allowed[-1]),
        )
    return int(device)


def load_per_core() -> float | None:
    """Return the load of the last minute for each core, or ``None`` if the system does not report it."""
    try:
        return os.getloadavg()[0] / (os.cpu_count() or 1)
    except OSError:
        return None


def conditions(core: int) -> dict[str, Any]:
    """Return the state of the processor as JSON; ``None``: it cannot be read here."""
    frequency = Path(f"/sys/devices/system/cpu/cpu{core}/cpufreq")
    khz, mhz = _text(frequency / "scaling_cur_freq"), _cpuinfo("cpu MHz", core)
    load = load_per_core()
    return {
        "governor": _text(frequency / "scaling_governor"),
        "mhz": int(khz) / 1e3 if khz else float(mhz) if mhz else None,
        "load_per_core": None if load is None else round(load, 2),
        "cores": os.cpu_count(),
        "virtual": "hypervisor" in (_cpuinfo("flags") or "").split(),
    }


def _cpuinfo(name: str, core: int = 0) -> str | None:
    """Return a field of one processor in /proc/cpuinfo."""
    for block in (_text(Path("/proc/cpuinfo")) or "").split("\n\n"):
        fields = {k.strip(): v.strip() for k, _, v in (line.partition(":") for line in block.splitlines())}
        if fields.get("processor") == str(core):
            return fields.get(name)
    return None


def _text(path: Path) -> str | None:
    try:
        return path.read_text(errors="replace").strip() or None
    except OSError:
        return None
