"""The results of a run: every network's costs and accuracies, beside the baseline."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from attrs import field, frozen

from hnas.architecture import Architecture, Option
from hnas.cost import Cost, Metric
from hnas.errors import DataError
from hnas.learner import Inference
from hnas.toolkit.codec import load
from hnas_app.config.schema import Config
from hnas_app.training.accuracy import Accuracy, interval_over
from hnas_app.training.race import Race

ACCURACIES = "accuracies.json"
"""The file of `TaskAccuracies` in a run directory."""


@frozen(kw_only=True)
class NetworkResult:
    """One network: its options, its costs, and its accuracies with super-net weights and trained alone."""

    name: str
    arch: Architecture
    options: Mapping[str, Option]
    cost: Cost
    zero_retrain: Accuracy
    retrained: Accuracy
    inference: Inference = field(factory=Inference)
    """What a prediction takes; ``cost`` counts it."""


@frozen(kw_only=True)
class Proposed:
    """An architecture that test tasks were adapted with, and how many of them."""

    arch: Architecture
    tasks: int


@frozen(kw_only=True)
class PerTask:
    """The test tasks, each with the architecture that the learner proposed for it, on the super-net's weights."""

    accuracy: Accuracy
    cost: Cost
    """The mean over the tasks, of each metric on its own."""
    largest: Cost
    """The largest of any task, of each metric on its own."""
    moved: int
    """Tasks whose proposal broke a limit: a near architecture that keeps all of them took its place."""
    architectures: tuple[Proposed, ...]
    """All that were used, the most frequent first."""

    @classmethod
    def of(
        cls, proposals: Sequence[Architecture], used: Sequence[Architecture], costs: Sequence[Cost], accuracy: Accuracy
    ) -> PerTask:
        """Summarise the proposals, the architectures used instead and their costs, one of each for every task."""
        return cls(
            accuracy=accuracy,
            cost=Cost(values={m: sum(c[m] for c in costs) / len(costs) for m in costs[0].values}),
            largest=Cost(values={m: max(c[m] for c in costs) for m in costs[0].values}),
            moved=sum(a != b for a, b in zip(proposals, used, strict=True)),
            architectures=tuple(Proposed(arch=a, tasks=n) for a, n in Counter(used).most_common()),
        )


@frozen(kw_only=True)
class Results:
    """The result of a run. The first network is the one that was found, unless there is ``per_task``."""

    networks: tuple[NetworkResult, ...]
    """Without the one that was found if there is ``per_task``: nothing is searched for then."""
    baseline: Accuracy
    """Nearest class mean on raw pixels, over the same test tasks."""
    metrics: tuple[Metric, ...]
    limits: tuple[str, ...]
    protocol: str
    """How the accuracies were measured."""
    missing: tuple[str, ...] = ()
    """Why a network to compare with is not there, a sentence for each."""
    race: Race | None = None
    """How the network that was found won against other finalists, if they raced."""
    per_task: PerTask | None = None
    """With ``evaluate.architecture="per-task"``: an architecture for each test task, in place of a search."""
    unsteady: tuple[str, ...] = ()
    """The networks whose cost was measured while the device was unsteady, see `hnas_app.costs.steadiness`."""
    schema: int = field(default=2, metadata={"unsealed": 1})

    @property
    def accuracy(self) -> float:
        """The run's accuracy: that of the network that was found, trained alone, or over each task's own."""
        return self.per_task.accuracy.mean if self.per_task else self.networks[0].retrained.mean


def protocol(config: Config) -> str:
    """Describe how a run of ``config`` measures accuracies."""
    own = ", each with the architecture proposed for it" if config.evaluate.architecture == "per-task" else ""
    return (
        f"{config.tasks.name}, {config.task.n_way}-way {config.task.k_shot}-shot, {config.evaluate.tasks} test tasks "
        f"with {config.evaluate.n_query} query images per class{own}, one model (no ensemble), seed {config.seed}; "
        f"{interval_over(config.evaluate.tasks)}"
    )


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
    path = run / ACCURACIES
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
