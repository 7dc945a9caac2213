"""What the learner proposes: an architecture for each task, by its support images alone."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any

from hnas.architecture import Proposal
from hnas.episode import Episodes
from hnas.task_source import Split
from hnas_app.executors.interface import Executor
from hnas_app.training.setup.returned import proposed
from hnas_app.training.setup.setup import Setup, from_driver


def propose(
    executor: Executor,
    split: Split,
    purpose: str,
    tasks: Iterable[int],
    n_query: int,
    prices: Mapping[str, Any] = MappingProxyType({}),
) -> list[Proposal]:
    """Return the learner's proposal for each of some tasks of a stream; the state was put as ``scored``.

    With ``prices`` (arrays) it is that of `MetaLearner.with_prices`.
    The learner gets one task at a time: a proposal depends neither on the workers nor on the tasks beside it.
    """
    return executor.map(_propose, [(split, purpose, task, n_query, dict(prices)) for task in tasks])


def support_only(episodes: Episodes) -> Episodes:
    """Return the tasks without their query images: what a task is tested on must not decide about its network."""
    x, y = episodes.query_x[:, :0], episodes.query_y[:, :0]
    return Episodes(support_x=episodes.support_x, support_y=episodes.support_y, query_x=x, query_y=y)


def _propose(values: Mapping[str, Any], item: Any) -> Proposal:
    """Run in a worker: the learner's proposal for one task."""
    setup: Setup = values["setup"]
    split, purpose, task, n_query, prices = item
    episodes = support_only(setup.episodes(split, purpose, [task], n_query))
    learner = setup.learner
    if prices:
        learner = learner.with_prices(from_driver(prices, setup)) or learner  # one that offers none was refused
    found = learner.propose(setup.space, setup.supernet, from_driver(values["scored"], setup), episodes)
    return proposed(setup.learner, found, 1, setup.space)[0]
