"""The results of a run: every network's costs and accuracies, beside the baseline."""

from __future__ import annotations

from collections.abc import Mapping

from attrs import field, frozen

from hnas.architecture import Architecture, Option
from hnas.cost import Cost, Metric
from hnas_app.config.schema import Config
from hnas_app.training.accuracy import Accuracy, interval_over
from hnas_app.training.race import Race


@frozen(kw_only=True)
class NetworkResult:
    """One network: its options, its costs, and its accuracies with super-net weights and trained alone."""

    name: str
    arch: Architecture
    options: Mapping[str, Option]
    cost: Cost
    zero_retrain: Accuracy
    retrained: Accuracy


@frozen(kw_only=True)
class Results:
    """The result of a run. The first network is the one that was found."""

    networks: tuple[NetworkResult, ...]
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
    schema: int = field(default=2, metadata={"unsealed": 1})


def protocol(config: Config) -> str:
    """Describe how a run of ``config`` measures accuracies."""
    return (
        f"{config.tasks.name}, {config.task.n_way}-way {config.task.k_shot}-shot, {config.evaluate.tasks} test tasks "
        f"with {config.evaluate.n_query} query images per class, one model (no ensemble), seed {config.seed}; "
        f"{interval_over(config.evaluate.tasks)}"
    )
