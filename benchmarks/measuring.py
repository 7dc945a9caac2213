"""How everything here is timed and recorded: one process, variants in turn, medians, and what machine it was."""

from __future__ import annotations

import datetime
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from attrs import frozen

from hnas_app.executors.environment import WORKER_ENVIRONMENT
from hnas_app.runs.environment import environment

RESULTS = Path(__file__).parent / "results"


def settle_environment() -> None:
    """Run this script again with the environment of the project's workers, unless it is there already.

    Allocator settings and the OpenMP wait policy are read when a process starts. Every variant runs under them, so a
    ratio holds nothing of what they alone bring. What the user has set is kept.
    """
    wanted = {k: v for k, v in WORKER_ENVIRONMENT.items() if k not in os.environ}
    if wanted:
        os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], {**os.environ, **wanted})


@frozen(kw_only=True)
class Timing:
    """Median wall and CPU seconds of one call, and all wall times."""

    wall_s: float
    cpu_s: float
    all_s: tuple[float, ...]


def interleave(
    variants: Mapping[str, Callable[[], object]], reps: int, warm_up: int = 1, twice: bool = False
) -> dict[str, Timing]:
    """Call each variant in turn, ``reps`` rounds long, so that a busy machine disturbs all of them alike.

    ``twice`` calls each two times in its turn and times the second. Worker processes need it: while the others have
    their turn they wait, and on a virtual machine whose host takes idle memory back (here after some 3 seconds) the
    next call is then 40 % slower, which no worker of a training ever is.
    """
    for _ in range(warm_up):
        for call in variants.values():
            call()
    wall: dict[str, list[float]] = {name: [] for name in variants}
    cpu: dict[str, list[float]] = {name: [] for name in variants}
    for _ in range(reps):
        for name, call in variants.items():
            if twice:
                call()
            started, cpu_started = time.perf_counter(), time.process_time()
            call()
            wall[name].append(time.perf_counter() - started)
            cpu[name].append(time.process_time() - cpu_started)
    return {
        n: Timing(wall_s=statistics.median(wall[n]), cpu_s=statistics.median(cpu[n]), all_s=tuple(wall[n]))
        for n in variants
    }


def sgemm_peak(seconds: float = 0.3) -> float:
    """Return the best GFLOP/s that float32 matrix products of 384 to 1024 rows reach on torch's threads."""
    import torch

    best = 0.0
    for size in (384, 512, 1024):
        a, b = torch.randn(size, size), torch.randn(size, size)
        out = a @ b
        end = time.perf_counter() + seconds
        while time.perf_counter() < end:
            started = time.perf_counter()
            torch.mm(a, b, out=out)
            best = max(best, 2e-9 * size**3 / (time.perf_counter() - started))
    return best


def record(name: str, rows: Sequence[Mapping[str, Any]], **extra: Any) -> dict[str, Any]:
    """Write rows with machine, versions, date and command to ``results/<name>.json``, and return what was written."""
    described = environment()
    described["packages"] |= {p: v for p in ("higher", "learn2learn") if (v := _version(p))}
    described["allocator"] = os.environ.get("GLIBC_TUNABLES", "")
    content = {
        "benchmark": name,
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "command": " ".join(["python", f"benchmarks/{Path(sys.argv[0]).name}", *map(_shown, sys.argv[1:])]),
        "commit": _commit(),
        "load": round(os.getloadavg()[0], 2),
        "environment": described,
        **extra,
        "rows": list(rows),
    }
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"{name}.json").write_text(json.dumps(content, indent=1) + "\n")
    return content


def _shown(argument: str) -> str:
    """Return an argument without the folders of whoever ran it."""
    return Path(argument).name if os.path.isabs(argument) else argument


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _commit() -> str:
    """Return the commit that was measured, with a mark where files differ from it."""
    command = ["git", "describe", "--always", "--dirty", "--abbrev=12"]
    told = subprocess.run(command, cwd=RESULTS.parent, capture_output=True, text=True)
    return told.stdout.strip() or "unknown"
