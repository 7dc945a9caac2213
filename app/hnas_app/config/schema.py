"""The configuration of a run: every section, its types, its defaults and the meaning of each value.

Plugin tables (``[space]``, ``[learner]``, ``[backend]``, ``[strategy]``, ``[tasks]``) hold ``name`` and the options of
the plugin that it names; those are checked by the plugin's own options class.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Literal

from attrs import evolve, field, fields, frozen, has, validators

from hnas.discovery import KINDS
from hnas.errors import close_matches
from hnas.settings import at_least_0, fraction, one_of, positive, setting


def _is_accelerator(instance: object, attribute: object, value: str) -> None:
    if not re.fullmatch(r"cpu|cuda(:[0-9]{1,4})?", value):
        raise ValueError(f"expected cpu, cuda or cuda:N, got {value!r}")


def _not_one(instance: object, attribute: object, value: int) -> None:
    if value == 1:
        raise ValueError("expected 0 or at least 2 classes, got 1")


_EXECUTORS = "local, threads, processes, ray or ray://HOST:PORT"


def _is_executor(instance: object, attribute: object, value: str) -> None:
    if not re.fullmatch(r"local|threads|processes|ray|ray://[^\s/:]+:[0-9]{1,5}", value):
        raise ValueError(f"expected {_EXECUTORS}, got {value!r}")


SAMPLINGS = ("shrinking", "uniform", "attentive", "sandwich", "ofa")


def _is_sampling(instance: object, attribute: object, value: str) -> None:
    if value not in SAMPLINGS and not re.fullmatch(r"(space|learner):.+", value):
        known = ", ".join(map(repr, SAMPLINGS))
        raise ValueError(
            f"expected one of {known}, 'space:NAME' or 'learner:NAME', got {value!r}.{close_matches(value, SAMPLINGS)}"
        )


def _ascending_shares(instance: object, attribute: object, value: tuple[float, ...]) -> None:
    if list(value) != sorted(value) or not all(0 <= share <= 1 for share in value):
        raise ValueError(f"expected ascending shares from 0 to 1, got {list(value)}")


@frozen(kw_only=True)
class PluginChoice:
    """A plugin by name, with an instance of its options class."""

    name: str
    options: Any = None


@frozen(kw_only=True)
class TaskConfig:
    """``[task]``: the size of the few-shot tasks."""

    n_way: int = setting(5, "classes in a task", validators.ge(2))
    k_shot: int = setting(1, "labelled images per class", positive)


_KEEP_BEST = "keep the weights of the best validation, not the last ones"
_PATIENCE = "validations in a row without a better accuracy that end the training early (0: none); the best is kept"


@frozen(kw_only=True)
class MetaTrainConfig:
    """``[meta_train]``: phase 1. The defaults are the paper's for Omniglot."""

    epochs: int = setting(100, "epochs; schedules (Eq. 4, MSL, cosine) count in these", positive)
    iterations: int = setting(500, "meta-iterations in an epoch", positive)
    tasks: int = setting(8, "tasks in a meta-batch", positive)
    n_way: int = setting(0, "classes in a task to train or re-train on; 0: task.n_way", at_least_0, _not_one)
    k_shot: int = setting(0, "labelled images per class of these tasks; 0: task.k_shot", at_least_0)
    n_query: int = setting(1, "query images per class", positive)
    architectures: int = setting(1, "architectures that share the tasks of a meta-batch (the paper's: 1)", positive)
    sampling: str = setting(
        "shrinking",
        "how architectures are drawn: by Eq. 4, uniformly, by accuracy so far, or largest, smallest and random ones "
        "(shrinking, uniform, attentive, sandwich); in stages (ofa); or by a plugin's own schedule (space:NAME, "
        "learner:NAME)",
        _is_sampling,
    )
    temperature: float = setting(
        0.1, "attentive sampling: softmax temperature, in accuracy; lower is greedier", positive
    )
    shrink_end: float = setting(0.2, "Eq. 4, p_e: probability of the largest architecture at the end", fraction)
    shrink_start: int = setting(30, "Eq. 4, e_s: epochs in which only the largest architecture is trained", at_least_0)
    shrink_decay: float = setting(5.0, "Eq. 4, a: how fast the probability falls", positive)
    stages: tuple[float, float, float] = setting(
        (0.3, 0.5, 0.75),
        "ofa sampling: shares of the training after which kernels, depths and widths begin to shrink",
        _ascending_shares,
    )
    validate_every: int = setting(5, "epochs between validations", positive)
    validate_tasks: int = setting(100, "validation tasks each time", positive)
    keep_best: bool = setting(False, _KEEP_BEST)
    patience: int = setting(0, _PATIENCE, at_least_0)


@frozen(kw_only=True)
class SearchConfig:
    """``[search]``: phase 3, how candidates are scored. The strategy (``[strategy]``) proposes them."""

    tasks: int = setting(16, "tasks drawn in each iteration", positive)
    slice: Literal["fresh", "fixed"] = setting(
        "fresh",
        "tasks of an iteration: drawn anew (as in the paper), or always the first ones, which is several times as fast",
        one_of("fresh", "fixed"),
    )
    candidates: Literal["all", "last"] = setting(
        "last",
        "candidates that finalists are chosen from: all that were scored, or those of the last iteration (the paper's)",
        one_of("all", "last"),
    )
    start: Literal["random", "scaled"] = setting(
        "random",
        "the first batch of a strategy: random (the paper's), or with the scaled reference network among them",
        one_of("random", "scaled"),
    )
    finalists: int = setting(10, "best candidates that are scored again before choosing", positive)
    final_tasks: int = setting(100, "tasks that the finalists are scored on", positive)
    pool: int = setting(600, "validation tasks that the search draws from", positive)
    n_query: int = setting(15, "query images per class", positive)
    fitness: Literal["query", "support"] = setting(
        "query",
        "images whose loss is the fitness after adapting on the support set",
        one_of("query", "support"),
    )
    architecture: str = setting(
        "",
        "network to price and train instead of searching: choice=option,…, the name of a reference network, or genes "
        "as JSON",
        validators.instance_of(str),
    )

    @property
    def scoring(self) -> SearchConfig:
        """How candidates are scored; a network that was given has no rivals."""
        return evolve(self, candidates="last", finalists=1) if self.architecture else self


def _names_networks(instance: object, attribute: object, value: str) -> None:
    names = [name.strip() for name in value.split(",")]
    if "" in names or ("none" in names and len(names) > 1) or len(set(names)) < len(names):
        raise ValueError(f"expected 'none', or different names with commas between them, got {value!r}")


@frozen(kw_only=True)
class RetrainConfig:
    """``[retrain]``: the chosen architecture, and the reference network, trained alone."""

    epochs: int = setting(100, "epochs", positive)
    iterations: int = setting(500, "meta-iterations in an epoch", positive)
    tasks: int = setting(8, "tasks in a meta-batch", positive)
    n_query: int = setting(1, "query images per class", positive)
    rate_factor: float = setting(
        1.0,
        "factor on the learner's outer learning rates: one network alone tolerates higher ones",
        positive,
        most=1000,
    )
    start: Literal["scratch", "supernet"] = setting(
        "scratch", "initial weights: fresh ones, or the super-net's", one_of("scratch", "supernet")
    )
    validate_every: int = setting(5, "epochs between validations", positive)
    validate_tasks: int = setting(100, "validation tasks each time", positive)
    keep_best: bool = setting(False, _KEEP_BEST)
    patience: int = setting(0, _PATIENCE, at_least_0)
    reference: str = setting(
        "scaled,auto",
        "networks trained with the same budget, to compare with: names of reference networks, 'auto' (the space's for "
        "such images), 'scaled' (that one scaled in width to fit the limits), or 'none'",
        _names_networks,
    )
    finalists: int = setting(
        1, "finalists of the search that are trained in part, before the best of them is trained to the end", positive
    )
    race_tasks: int = setting(200, "validation tasks that these are compared on", positive)


@frozen(kw_only=True)
class EvaluateConfig:
    """``[evaluate]``: the final test."""

    tasks: int = setting(600, "test tasks", positive)
    n_query: int = setting(15, "query images per class", positive)
    architecture: Literal["found", "per-task"] = setting(
        "found",
        "tested on each task: the network that the search found, or the architecture that the learner proposes for it",
        one_of("found", "per-task"),
    )


@frozen(kw_only=True)
class Config:
    """A whole, resolved configuration."""

    preset: str = setting("quick", "the preset that defaults come from")
    seed: int = setting(0, "root of all randomness", at_least_0, most=2**63 - 1)
    workers: int = setting(0, "workers; 0 takes one per core, on Ray one per CPU of the cluster", at_least_0)
    executor: str = setting("local", f"where work runs: {_EXECUTORS}", _is_executor)
    accelerator: str = setting("cpu", "where networks are computed: cpu, cuda or cuda:N", _is_accelerator)
    constraints: tuple[str, ...] = field(
        default=(),
        metadata={"help": "limits such as 'latency<=0.05ms'; default: 0.6 of the reference network's cost"},
    )
    space: PluginChoice = PluginChoice(name="vgg9")
    learner: PluginChoice = PluginChoice(name="maml++")
    backend: PluginChoice = PluginChoice(name="eyeriss")
    strategy: PluginChoice = PluginChoice(name="genetic")
    tasks: PluginChoice = PluginChoice(name="glyphs")
    task: TaskConfig = TaskConfig()
    meta_train: MetaTrainConfig = MetaTrainConfig()
    search: SearchConfig = SearchConfig()
    retrain: RetrainConfig = RetrainConfig()
    evaluate: EvaluateConfig = EvaluateConfig()


SECTIONS = {f.name: type(f.default) for f in fields(Config) if has(type(f.default)) and f.name not in KINDS}
"""The class of each section that is no plugin's."""


@frozen(kw_only=True)
class LoadedConfig:
    """A resolved configuration and where each value came from."""

    config: Config
    origins: Mapping[str, str]
    """Dotted key to origin: ``default``, ``plugin default``, ``preset quick``, ``hnas.toml line 6``, ``--seed``, …"""
    notes: tuple[str, ...] = ()
    """Sentences for the user: options that were given for another plugin than the one chosen."""

    def is_set_by_user(self, key: str) -> bool:
        """Return whether a file, the environment or the command line gave the value of ``key``."""
        origin = self.origins.get(key, "default")
        return origin not in ("default", "plugin default") and not origin.startswith("preset ")
