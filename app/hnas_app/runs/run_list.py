"""The runs under a folder, as ``hnas runs`` lists them; reads ``run.json`` only."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from attrs import frozen

from hnas.errors import DataError, short
from hnas_app.runs.run_dir import SWEEP, RunDir


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
    accuracy: float | None = None
    """``results.accuracy`` of ``run.json``, 0–1, once the run is evaluated."""
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
        found.append(RunSummary(path=path, phases=states, accuracy=accuracy, **text))
    return sorted(found, key=lambda r: r.created)
