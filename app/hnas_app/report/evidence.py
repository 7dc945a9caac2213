"""All that a run directory holds, read as far as it can be: what is damaged or not there yet is named, and no error."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from attrs import field, frozen

from hnas.cost import CostTable, Metric
from hnas.errors import HnasError
from hnas.strategy import Scored
from hnas.toolkit.codec import load
from hnas_app.config.changes import check_file, recorded_values
from hnas_app.fronts.runs import find_runs
from hnas_app.report.pictures import PictureResult
from hnas_app.runs.environment import recorded as environment_of
from hnas_app.runs.results import Results, TaskAccuracies, read_accuracies
from hnas_app.runs.run_dir import PHASES, RunDir, not_a_run
from hnas_app.search.adapt import Adaption
from hnas_app.search.trace import recorded as iterations_of
from hnas_app.trackers.json_lines import JsonLines
from hnas_app.training.race import Race, read_race

T = TypeVar("T")
Curve = dict[int, dict[str, float]]
"""The values of each step of a training, by the number of iterations done."""


@frozen(kw_only=True)
class Evidence:
    """What one run directory holds. Each part is empty, or ``None``, if it is not there or cannot be read."""

    path: Path
    name: str
    """The folder's name, with those of folders above it as far as other runs of the report have the same."""
    record: Mapping[str, Any]
    """``run.json``."""
    states: Mapping[str, str]
    """The state of each phase that began."""
    config: Mapping[str, Any]
    """Settings by dotted key."""
    environment: Mapping[str, Any]
    results: Results | None
    adaption: Adaption | None
    table: CostTable | None
    iterations: Sequence[Sequence[Scored]]
    """The candidates of each iteration of the search."""
    curves: Mapping[str, Curve]
    """By phase: ``meta-train``, ``retrain``, ``retrain scaled``, …"""
    race: Race | None
    accuracies: TaskAccuracies | None
    is_own_task: bool = False
    """Whether the run is for the user's own pictures."""
    own_task: PictureResult | None = None
    """``task.json``, the result of such a run."""
    missing: Sequence[str] = field(factory=list)
    """Why a part is not here, a sentence for each."""

    @property
    def metrics(self) -> tuple[Metric, ...]:
        """The metrics that costs are in; none before the device was profiled."""
        if self.results:
            return self.results.metrics
        return self.table.metrics if self.table else ()

    @property
    def limits(self) -> tuple[str, ...]:
        """The limits of the search as they were given; none means the default one, if it is not known yet."""
        return self.results.limits if self.results else tuple(map(str, self.config.get("constraints", ())))

    @property
    def scored_on(self) -> str:
        """What the search's accuracies are of."""
        return "the labelled pictures" if self.is_own_task else "validation tasks"

    @property
    def device(self) -> str:
        """The device in words: the same text for the same device."""
        if self.table is None:
            return str(self.config.get("backend.name", "unknown device"))
        return f"{self.table.info.backend}: {self.table.info.device}"

    @property
    def task(self) -> dict[str, Any]:
        """The settings that say which tasks accuracies are of. The folder of a data set is not among them."""
        kept = ("task.", "tasks.")
        found = {k: v for k, v in self.config.items() if k.startswith(kept) and k != "tasks.root"}
        return found | {k: self.config[k] for k in ("evaluate.n_query",) if k in self.config}

    @property
    def task_name(self) -> str:
        """The tasks in words: ``glyphs, 5-way 1-shot``."""
        source, way, shot = (self.config.get(k, "?") for k in ("tasks.name", "task.n_way", "task.k_shot"))
        return f"{source}, {way}-way {shot}-shot"


def read_all(paths: Sequence[Path]) -> list[Evidence]:
    """Read runs, and all runs of sweeps. Raises `DataError` for a folder that is neither."""
    found: dict[Path, None] = {}
    for path in paths:
        damaged = (path / "run.json").is_file()
        found |= dict.fromkeys([path] if damaged else find_runs([path]))
    parts = [path.absolute().parts for path in found]
    unlike = next((n for n in range(1, 99) if len({p[-n:] for p in parts}) == len(parts)), 0)
    return [read(path, "/".join(p[-unlike:])) for path, p in zip(found, parts, strict=True)]


def read(path: Path, name: str = "") -> Evidence:
    """Read a run directory without writing to it. Raises `DataError` if it has no ``run.json``."""
    if not (path / "run.json").is_file():
        raise not_a_run(path)
    run, missing = RunDir(path), list[str]()

    def part(what: str, read: Callable[[], T], empty: T) -> T:
        try:
            return read()
        except (HnasError, OSError, ValueError) as cause:
            missing.append(f"{what}: {cause}")
            return empty

    def stored(name: str, kind: type[T], phase: str) -> T | None:
        if not (path / name).is_file():
            if states.get(phase, "" if record else "done") == "done":
                missing.append(f"{name} is missing{f', though the phase {phase} is done' * bool(record)}")
            return None
        return part(name, lambda: load(path / name, kind), None)

    record = part("run.json", run.record, dict[str, Any]())
    states = part("run.json", run.states, dict[str, str]()) if record else {}
    is_own_task, result = (path / "pictures.json").is_file(), path / "task.json"
    expected = PHASES[:3] if is_own_task else PHASES
    missing += [f"the phase {p} {_told(states.get(p))}" for p in expected if record and states.get(p) != "done"]
    config = part("config.toml", lambda: _config(run), dict[str, Any]())
    environment = part("environment.json", lambda: environment_of(path / "environment.json"), dict[str, Any]())
    curves = part("metrics.jsonl", lambda: _curves(path), dict[str, Curve]())
    origin = record.get("phases", {}).get("meta-train", {}).get("copied_from")
    if origin and "meta-train" not in curves and "supernet" not in record:  # one that comes trained has no curve
        curves |= part("metrics.jsonl", lambda: _origin(Path(str(origin)), missing), dict[str, Curve]())
    return Evidence(
        path=path,
        name=name or path.absolute().name,
        record=record,
        states=states,
        config=config,
        environment=environment,
        results=stored("evaluate.json", Results, "evaluate"),
        adaption=stored("adapt.json", Adaption, "adapt"),
        table=stored("profile.json", CostTable, "profile"),
        iterations=part("search.jsonl", lambda: iterations_of(path / "search.jsonl"), []),
        curves=curves,
        race=part("race.json", lambda: read_race(path / "race.json") if (path / "race.json").is_file() else None, None),
        accuracies=part("accuracies.json", lambda: read_accuracies(path), None),
        is_own_task=is_own_task,
        own_task=part("task.json", lambda: load(result, PictureResult), None) if result.is_file() else None,
        missing=missing,
    )


def _told(state: str | None) -> str:
    words = {"running": "is going on", "stopped": "was stopped before its end"}
    return words.get(state or "", "has not begun" if not state else f"is in the state {state!r}")


def _config(run: RunDir) -> dict[str, Any]:
    check_file(run.config_path, needed=False)
    return recorded_values(run.config_path)


def _curves(path: Path) -> dict[str, Curve]:
    """Return the numbers of each step in ``metrics.jsonl``; of a step that was done twice, the last."""
    found: dict[str, Curve] = {}
    for line in JsonLines(path / "metrics.jsonl").read():
        match line:
            case {"phase": str(phase), "kind": "step", "done": int(done), "values": dict(values)}:
                numbers = {k: float(v) for k, v in values.items() if type(v) in (int, float) and math.isfinite(v)}
                found.setdefault(phase, {}).setdefault(done, {}).update(numbers)
    return {phase: dict(sorted(curve.items())) for phase, curve in found.items()}


def _origin(origin: Path, missing: list[str]) -> dict[str, Curve]:
    """Return the curve of the run that the super-net was trained in."""
    curve = _curves(origin).get("meta-train")
    if curve is None:
        missing.append(f"the curve of meta-training: the super-net is that of {origin}, which has none")
    return {} if curve is None else {"meta-train": curve}
