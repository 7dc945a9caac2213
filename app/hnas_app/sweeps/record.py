"""The record of a sweep, ``sweep.json``: its pairs, and the network that was found for each."""

from __future__ import annotations

import secrets
import time
from collections.abc import Mapping
from pathlib import Path

from attrs import evolve, field, frozen

from hnas.architecture import Architecture, Option
from hnas.errors import DataError
from hnas.toolkit.codec import load
from hnas_app.runs.run_dir import SWEEP
from hnas_app.search.place import Place


@frozen(kw_only=True)
class Found:
    """The network that was chosen for a pair, and the evaluations that finding it took."""

    arch: Architecture
    options: Mapping[str, Option]
    loss: float
    accuracy: float
    """As its search scored it, over the tasks of the finals."""
    cost: Mapping[str, float]
    """By metric with its unit: ``latency_ms``, ``params``, …"""
    place: Place | None = field(metadata={"formerly": "rank"})
    evaluations: int
    """Adaptions of an architecture to a task that were run because this pair wanted them first."""


@frozen(kw_only=True)
class SweepPair:
    """A backend with limits that must all hold. ``name`` is that of its run directory in the sweep's folder."""

    name: str
    backend: str
    constraints: tuple[str, ...]
    """As they were given; none means the default limit."""
    found: Found | None = None

    def __str__(self) -> str:
        return f"{self.backend}, {','.join(self.constraints) or 'default limit'}"


@frozen(kw_only=True)
class SweepRecord:
    """A sweep over pairs, with the super-net of the run ``supernet``."""

    supernet: str
    pairs: tuple[SweepPair, ...]
    evaluations: int | None = None
    """Of all pairs together, once the sweep is done; each (architecture, task) counts once."""
    schema: int = field(default=2, metadata={"unsealed": 1})

    @property
    def is_done(self) -> bool:
        return all(pair.found is not None for pair in self.pairs)

    def finished(self, found: Mapping[str, Found]) -> SweepRecord:
        """Return the record with the networks found, by the pairs' names."""
        pairs = tuple(evolve(pair, found=found[pair.name]) for pair in self.pairs)
        return evolve(self, pairs=pairs, evaluations=sum(f.evaluations for f in found.values()))


def read_sweep(folder: Path) -> SweepRecord:
    """Read a sweep's record. Raises `DataError` if it is missing, damaged or of another schema."""
    record = load(folder / SWEEP, SweepRecord)
    if missing := [pair.name for pair in record.pairs if not (folder / pair.name / "run.json").is_file()]:
        raise DataError(f"{folder} lacks the run directories {', '.join(missing)}", hint="begin the sweep again")
    return record


def new_folder(root: Path) -> Path:
    """Return the folder of a sweep that is still to be made: ``<root>/<time>-sweep-<id>``."""
    return root / f"{time.strftime('%Y%m%d-%H%M%S')}-sweep-{secrets.token_hex(3)}"
