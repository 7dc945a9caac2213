"""Schedules of a space's or a learner's own: found by name, and what they draw checked."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING

from hnas.architecture import Architecture
from hnas.errors import ConfigError, close_matches, short
from hnas.learner import MetaLearner, Progress
from hnas.space import Schedule, SearchSpace
from hnas_app.config.schema import SAMPLINGS, MetaTrainConfig
from hnas_app.executors.plugin_exit import wrong

if TYPE_CHECKING:
    import numpy as np


def schedules_of(space: SearchSpace, learner: MetaLearner | None) -> dict[str, tuple[object, Schedule]]:
    """Return the schedules of both by full name, such as ``space:stages``, each with the plugin that it is of.

    Raises `PluginError` unless they are functions by name.
    """
    found: dict[str, tuple[object, Schedule]] = {}
    offered = [("learner", learner, learner.schedules(space))] if learner is not None else []
    for kind, plugin, schedules in [("space", space, space.schedules()), *offered]:
        good = isinstance(schedules, Mapping) and all(isinstance(k, str) and callable(v) for k, v in schedules.items())
        if not good:
            raise wrong(plugin, "schedules", short(schedules), "functions by name")
        found |= {f"{kind}:{name}": (plugin, schedule) for name, schedule in schedules.items()}
    return found


def own_schedule(
    space: SearchSpace, learner: MetaLearner | None, config: MetaTrainConfig
) -> Callable[[np.random.Generator, Progress], list[Architecture]]:
    """Return the schedule that ``config.sampling`` names. Raises `ConfigError` if there is none of this name.

    Each draw raises `PluginError` unless it is of architectures of the space, no more than there are tasks.
    """
    known, name = schedules_of(space, learner), config.sampling
    if name not in known:
        names = [*SAMPLINGS, *known]
        raise ConfigError(
            f"meta_train.sampling is {name!r}, but there is no such schedule.{close_matches(name, names)} "
            f"There are {', '.join(names)}",
            hint="a space or a learner offers its own by `schedules`",
        )
    plugin, schedule = known[name]
    method = f"schedules()[{name.partition(':')[2]!r}]"

    def draw(generator: np.random.Generator, progress: Progress) -> list[Architecture]:
        found = schedule(generator, progress.iteration, progress.total, config.architectures)
        archs = list(found) if isinstance(found, Iterable) else [None]
        if not all(isinstance(arch, Architecture) for arch in archs):
            raise wrong(plugin, method, short(found), "architectures")
        for arch in archs:
            try:
                space.check(arch)
            except ConfigError as mistake:
                raise wrong(plugin, method, f"{arch} ({mistake})", f"members of {space.name}") from mistake
        distinct = list(dict.fromkeys(map(space.canonical, archs)))
        if not 1 <= len(distinct) <= config.tasks:
            expected = f"1 to {config.tasks} (meta_train.tasks): each is trained on at least one task"
            raise wrong(plugin, method, f"{len(distinct)} architectures", expected)
        return distinct

    return draw
