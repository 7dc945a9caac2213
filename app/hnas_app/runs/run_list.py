"""The runs under a folder: listed as ``hnas runs`` shows them, found by name, and removed."""

from __future__ import annotations

import glob
import os
import shutil
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from attrs import frozen

from hnas.errors import DataError, quoted, short
from hnas.toolkit.files import read_json
from hnas_app.runs.run_dir import PICTURES, SWEEP, RunDir, is_sweep, not_a_run

ROOT = Path("runs")
"""Where runs are made, and looked for by name."""


@frozen(kw_only=True)
class RunSummary:
    """One line of ``hnas runs``."""

    path: Path
    created: str = ""
    space: str = ""
    backend: str = ""
    tasks: str = ""
    preset: str = ""
    phases: Mapping[str, str]
    """Phase to state, for the phases that began."""
    limits: tuple[str, ...] = ()
    """As they were given; empty: the default limit, or a run that an older hnas made and that is not evaluated."""
    cost: float | None = None
    """Of the network that was found, in the device's first metric."""
    metric: str = ""
    """That metric with its unit, as in ``latency_ms``."""
    accuracy: float | None = None
    """``results.accuracy`` of ``run.json``, 0–1, once the run is evaluated."""
    pictures: str = ""
    """The folder of the user's own pictures, if the run was made for some."""
    problem: str | None = None


def list_runs(root: Path) -> list[RunSummary]:
    """Return the runs under ``root``, newest last, those of sweeps too. A damaged one is listed with its problem."""
    found = []
    below_sweeps = [p for sweep in root.glob(f"*/{SWEEP}") for p in sweep.parent.glob("*/run.json")]
    for path in sorted(p.parent for p in [*root.glob("*/run.json"), *below_sweeps]):
        run = RunDir(path)
        try:
            record, states = run.record(), run.states()
            accuracy = (record.get("results") or {}).get("accuracy")
            if not isinstance(accuracy, float | None):
                raise DataError(f"{run.record_path} is damaged: 'results.accuracy' is {short(accuracy)}")
        except DataError as cause:
            found.append(RunSummary(path=path, phases={}, problem=str(cause)))
            continue
        text = {k: str(record.get(k, "")) for k in ("created", "space", "backend", "tasks", "preset")}
        metric, cost = _cost(record)
        found.append(
            RunSummary(
                path=path, phases=states, accuracy=accuracy, limits=_limits(record), metric=metric, cost=cost,
                pictures=_pictures(path), **text,
            )
        )  # fmt: skip
    return sorted(found, key=lambda r: r.created)


def run_named(text: str, root: Path = ROOT) -> Path:
    """Return the folder of a run: a path, the name of a folder under ``root``, or the id at the end of its name."""
    path = Path(text)
    if path.exists() or os.sep in text:
        return path
    named = [root / text, *sorted(root.glob(f"*-{glob.escape(text)}"))]
    there = [p for p in named if (p / "run.json").is_file() or is_sweep(p)]
    return there[0] if len(there) == 1 else path


def check_removable(path: Path) -> None:
    """Raise `DataError` unless ``path`` is a run directory that stands alone, or a sweep's folder."""
    if path.is_symlink():
        raise DataError(f"{path} is a link", hint="remove the link itself, or name the folder that it leads to")
    if not is_sweep(path) and not (path / "run.json").is_file():
        raise not_a_run(path)
    if is_sweep(path.absolute().parent):
        raise DataError(
            f"{path} belongs to a sweep, whose record names it",
            hint=f"remove the whole sweep: hnas runs rm {quoted(path.parent)}",
        )


def remove_run(path: Path) -> None:
    """Remove a run directory, or a sweep's folder with its runs. Raises `DataError` if it is none, or in use."""
    check_removable(path)
    with ExitStack() as held:
        for one in [path, *(p.parent for p in path.glob("*/run.json") if is_sweep(path))]:
            held.enter_context(RunDir(one).lock())
        try:
            shutil.rmtree(path)
        except OSError as cause:
            raise DataError(f"cannot remove {path}: {cause.strerror or cause}") from cause


def _limits(record: Mapping[str, Any]) -> tuple[str, ...]:
    limits = (record.get("results") or {}).get("limits") or record.get("constraints")
    return tuple(map(str, limits)) if isinstance(limits, list) else ()


def _cost(record: Mapping[str, Any]) -> tuple[str, float | None]:
    """Return the first metric, with its unit, and the cost of the network that was found; of the tested one, if any."""
    try:
        if results := record.get("results"):
            name, unit = (results["metrics"][0][key] for key in ("name", "unit"))
            tested = results.get("per_task") or results["networks"][0]
            return f"{name}_{unit}" if unit else name, float(tested["cost"]["values"][name])
        found = record["found"]
        return str(found["metric"]), float(found["cost"])
    except (KeyError, IndexError, TypeError, ValueError):
        return "", None


def _pictures(path: Path) -> str:
    try:
        return str(read_json(path / PICTURES)["root"]) if (path / PICTURES).is_file() else ""
    except (DataError, KeyError, TypeError):
        return "?"
