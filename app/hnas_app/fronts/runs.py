"""Finished runs whose candidates go onto one front: found below folders, read, and checked to share a super-net."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from attrs import frozen

from hnas.architecture import Architecture
from hnas.cost import CostTable, Metric
from hnas.errors import ConfigError, DataError, quoted
from hnas.toolkit.codec import load
from hnas.toolkit.files import read_bytes
from hnas_app.config.toml import parse_toml
from hnas_app.costs.limits import metric_named
from hnas_app.fronts.dominance import nondominated
from hnas_app.runs.run_dir import RunDir, is_sweep
from hnas_app.search.adapt import Adaption
from hnas_app.training.checkpoint import weights_checksum

SHARED = ("space", "learner", "tasks", "task")
"""Sections of a configuration that losses with a super-net's weights depend on."""
ELSEWHERE = ("root",)
"""Keys in them that results do not depend on: the folder of the data set."""


@frozen(kw_only=True)
class FinishedRun:
    """A run whose search is done."""

    path: Path
    config: Mapping[str, Any]
    """``config.toml``, as plain tables."""
    table: CostTable
    adaption: Adaption
    weights: str
    """The checksum of the super-net that it was searched with."""

    @property
    def strategy(self) -> str:
        return str(self.config["strategy"]["name"])

    @property
    def limits(self) -> tuple[str, ...]:
        """The limits as they were given; none means the default one."""
        return tuple(self.config.get("constraints", ()))

    def number(self, arch: Architecture) -> int | None:
        """Return the number by which ``--pick`` takes an architecture of this run, if it is one of its points."""
        numbers = {s.arch: i for i, s in enumerate(self.adaption.points, 1)}
        return numbers.get(arch)

    def candidates(self, metric: str) -> list[Architecture]:
        """Return the finalists, and those of the last population that none beats in both ``metric`` and loss.

        So one rule serves a search for one network and a search for a front.
        """
        scored = [s for s in self.adaption.population if not s.bound]
        front = [scored[i].arch for i in nondominated([(s.cost[metric], s.loss) for s in scored])]
        return list(dict.fromkeys([*(s.arch for s in self.adaption.finalists), *front]))


def find_runs(paths: Sequence[Path]) -> list[Path]:
    """Return run directories: those given, and all below a folder of a sweep. Raises `DataError` for other folders."""
    found: dict[Path, None] = {}
    for path in paths:
        if is_sweep(path):
            below = sorted(p.parent for p in path.rglob("run.json") if p.parent != path)
            if not below:
                raise DataError(f"{path} is a sweep's folder, but there is no run directory below it")
            found |= dict.fromkeys(below)
        else:
            found[RunDir.open(path).path] = None
    return list(found)


def read_run(path: Path) -> FinishedRun:
    """Read a run whose search is done. Raises `DataError` for one that is not that far, or damaged."""
    run = RunDir.open(path)
    missing = [phase for phase in ("meta-train", "profile", "adapt") if not run.is_done(phase)]
    if missing:
        raise DataError(
            f"{path} has no finished search: {', '.join(missing)} is still to do",
            hint=f"run `hnas adapt {quoted(path)}` first",
        )
    try:
        config = parse_toml(read_bytes(run.config_path).decode("utf-8-sig"))
        if not all(isinstance(config.get(name, {}), dict) for name in SHARED) or "name" not in config["strategy"]:
            raise ValueError(f"expected tables {', '.join(SHARED)}, and strategy.name")
    except (OSError, ValueError, KeyError, TypeError) as cause:
        raise DataError(f"{run.config_path} is missing or damaged: {cause}") from cause
    return FinishedRun(
        path=path,
        config=config,
        table=load(path / "profile.json", CostTable, hint="run `hnas profile` to make it again"),
        adaption=load(path / "adapt.json", Adaption),
        weights=_weights(run),
    )


def check_one_supernet(runs: Sequence[FinishedRun]) -> None:
    """Raise `ConfigError` unless all runs score networks alike: same super-net, space, learner and kind of tasks.

    Losses under different weights or on different tasks do not compare.
    """
    first = runs[0]
    differs = []
    for run in runs[1:]:
        if run.weights != first.weights:
            differs.append(f"{run.path}: its super-net is another one (checksum {run.weights[:12]}…)")
        for section in SHARED:
            a, b = (r.config.get(section, {}) for r in (first, run))
            # Another version's run has options that one lacks.
            keys = [k for k in a if k in b and k not in ELSEWHERE and a[k] != b[k]]
            differs += [f"{run.path}: {section}.{k} is {b.get(k)!r}, not {a.get(k)!r}" for k in keys]
    if differs:
        told = "\n".join(differs)
        raise ConfigError(
            f"these runs do not compare with {first.path} (super-net {first.weights[:12]}…):\n{told}",
            hint="make them from one super-net: `hnas adapt RUN` with other limits or another --strategy",
        )


def by_device(runs: Sequence[FinishedRun], metric: str | None) -> list[tuple[Metric, list[FinishedRun]]]:
    """Return the runs of each device, with the metric that is meant: by default the device's first one.

    Raises `ConfigError` for a metric that a device does not have.
    """
    groups: dict[str, list[FinishedRun]] = {}
    for run in runs:
        groups.setdefault(run.table.info.fingerprint, []).append(run)
    found = []
    for group in groups.values():
        metrics = group[0].table.metrics
        found.append((metric_named(metric or metrics[0].name, metrics, str(group[0].path)), group))
    return found


def _weights(run: RunDir) -> str:
    saved = sorted((run.checkpoints / "meta-train").glob("state-*.json"))
    if not saved:
        raise DataError(f"{run.path} holds no super-net: {run.checkpoints / 'meta-train'} has no checkpoint")
    return weights_checksum(saved[-1])
