"""The processor cores that this process may use."""

from __future__ import annotations

import math
import os
from pathlib import Path

QUOTA = Path("/sys/fs/cgroup/cpu.max")
"""A container's own limit, as of ``docker run --cpus 2``: microseconds of computing, or ``max``, in each period."""


def usable_cores() -> int:
    """Return how many cores this process may use: those that it is bound to, or a container's share if that is less."""
    bound = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1  # macOS
    try:
        quota, period = map(int, QUOTA.read_text().split())
    except (OSError, ValueError):
        return bound
    return max(1, min(bound, math.ceil(quota / period)))
