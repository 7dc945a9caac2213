"""The state of a GPU from ``nvidia-smi``: clocks, temperature, power, and why it runs slower than it could."""

from __future__ import annotations

import math
import re
import subprocess
from collections.abc import Mapping
from typing import Any

from attrs import field, frozen

from hnas.errors import short
from hnas_backends.child_process import run

FIELDS = {
    "clocks.sm": "sm_mhz",
    "clocks.max.sm": "sm_max_mhz",
    "clocks.mem": "memory_mhz",
    "temperature.gpu": "temperature_c",
    "power.draw": "power_w",
    "power.limit": "power_limit_w",
    "utilization.gpu": "utilization_percent",
    "driver_version": "driver",
}
"""The fields queried, and our names with their units."""
REASONS_FIELDS = ("clocks_event_reasons.active", "clocks_throttle_reasons.active")
"""The same field by its newer and older name; a driver refuses the whole query if it does not know a field."""
REASONS = {
    0x1: "idle",
    0x2: "application clocks set",
    0x4: "power cap",
    0x8: "hardware slowdown",
    0x10: "sync boost",
    0x20: "thermal slowdown by software",
    0x40: "thermal slowdown by hardware",
    0x80: "power brake",
    0x100: "display clock set",
}
"""NVML's nvmlClocksEventReasons, bit by bit."""
THROTTLED = 0x8 | 0x20 | 0x40 | 0x80
"""Reasons that make a measurement worthless. A power cap is how large GPUs work under load; the anchors watch it."""
TIMEOUT_S = 30
"""Without persistence mode the driver is loaded first, which takes seconds for each GPU."""


@frozen(kw_only=True)
class State:
    """The answer; ``values`` lacks fields that the GPU does not report."""

    values: Mapping[str, Any] = field(factory=dict)
    reasons: int = 0
    missing: str = ""
    """Why nothing could be read, if so."""

    @property
    def throttled(self) -> list[str]:
        """The reasons that make a measurement worthless, in words."""
        return [text for bit, text in REASONS.items() if self.reasons & bit & THROTTLED]

    def to_json(self) -> dict[str, Any]:
        """Return the values that a table keeps."""
        if self.missing:
            return {"clocks": self.missing}
        held = [text for bit, text in REASONS.items() if self.reasons & bit]
        return {**self.values, "clocks_held_by": held}


def state(gpu: str) -> State:
    """Query the GPU with this UUID, such as ``GPU-2f4e…``. Never raises: a GPU can be measured without an answer."""
    try:
        for reasons in REASONS_FIELDS:
            query = ",".join([*FIELDS, reasons])
            command = ["nvidia-smi", f"--id={gpu}", f"--query-gpu={query}", "--format=csv,noheader,nounits"]
            done = run(command, timeout_s=TIMEOUT_S)
            if done.returncode == 0:
                return parse(done.stdout.decode(errors="replace"))
    except (OSError, subprocess.SubprocessError) as cause:
        return State(missing=f"nvidia-smi cannot be asked: {type(cause).__name__}: {cause}")
    said = (done.stdout + done.stderr).decode(errors="replace").strip().splitlines()
    return State(missing=f"nvidia-smi failed: {said[0] if said else f'exit code {done.returncode}'}")


def parse(line: str) -> State:
    """Read a line of values without units. A value in brackets, such as ``[N/A]``, is not reported by this GPU."""
    *texts, reasons = (text.strip() for text in line.strip().split(","))
    if len(texts) != len(FIELDS):
        return State(missing=f"nvidia-smi answered {short(line.strip())}, expected {len(FIELDS) + 1} values")
    known = {name: text for name, text in zip(FIELDS.values(), texts, strict=True) if not text.startswith("[")}
    values = {name: text if name == "driver" else _number(text) for name, text in known.items()}
    return State(values=values, reasons=int(reasons, 16) if re.fullmatch(r"0x[0-9a-fA-F]{1,16}", reasons) else 0)


def _number(text: str) -> float | str:
    try:
        value = float(text) if text.isascii() else math.nan
    except ValueError:
        return text
    return value if math.isfinite(value) else text
