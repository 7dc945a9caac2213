"""The accuracy of every network of a run on each test task: what differences between runs are paired by."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from attrs import field, frozen

from hnas.errors import DataError
from hnas.toolkit.codec import load
from hnas_app.training.accuracy import Accuracy

FILE = "accuracies.json"


@frozen(kw_only=True)
class NetworkAccuracies:
    """One accuracy (0–1) for each test task, in their order."""

    zero_retrain: tuple[float, ...]
    retrained: tuple[float, ...]


@frozen(kw_only=True)
class TaskAccuracies:
    """``accuracies.json``: the accuracies by task of the networks of `Results`, by name, and of the baseline."""

    tasks: str
    """A digest of the test tasks: runs with an equal one were tested on the same."""
    networks: Mapping[str, NetworkAccuracies]
    baseline: tuple[float, ...]
    per_task: tuple[float, ...] = ()
    """With an architecture for each test task; empty without."""
    schema: int = field(default=1, metadata={"unsealed": 0})


def read_accuracies(run: Path) -> TaskAccuracies | None:
    """Return the accuracies by task, or ``None`` if an earlier hnas tested the run. Raises `DataError` for damage."""
    path = run / FILE
    if not path.is_file():
        return None
    found = load(path, TaskAccuracies, hint="delete it; differences between runs are then not paired")
    lengths = {len(x) for n in found.networks.values() for x in (n.zero_retrain, n.retrained)}
    if lengths - {len(found.baseline)}:
        raise DataError(f"{path} is damaged: its networks were tested on different numbers of tasks")
    return found


def paired(first: Sequence[float], second: Sequence[float]) -> Accuracy:
    """Return how much better the second is than the first on the same tasks: the mean difference and its interval."""
    return Accuracy.over([b - a for a, b in zip(first, second, strict=True)])
