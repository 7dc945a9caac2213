"""Helpers for tests of a plugin: a conformance class for each kind, and a small space, super-net and tasks.

Subclass the class of your plugin's kind in a test file, construct the plugin in `make`, and run pytest. The built-in
plugins have to pass the same tests. Importing this imports neither torch nor pytest.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hnas_app.testing.backend_conformance import BackendConformance
    from hnas_app.testing.learner_conformance import LearnerConformance
    from hnas_app.testing.networks import CHAIN, RESIDUAL
    from hnas_app.testing.pretrained_conformance import PretrainedSuperNetConformance
    from hnas_app.testing.space_conformance import SpaceConformance
    from hnas_app.testing.strategy_conformance import StrategyConformance
    from hnas_app.testing.tasks_conformance import TasksConformance
    from hnas_app.testing.tiny.space import TinySpace
    from hnas_app.testing.tiny.tasks import TinyTasks
    from hnas_app.testing.tracker_conformance import TrackerConformance

__all__ = [
    "CHAIN",
    "RESIDUAL",
    "BackendConformance",
    "LearnerConformance",
    "PretrainedSuperNetConformance",
    "SpaceConformance",
    "StrategyConformance",
    "TasksConformance",
    "TinySpace",
    "TinyTasks",
    "TrackerConformance",
]

_LAZY = {
    "CHAIN": "hnas_app.testing.networks",
    "RESIDUAL": "hnas_app.testing.networks",
    "BackendConformance": "hnas_app.testing.backend_conformance",
    "LearnerConformance": "hnas_app.testing.learner_conformance",
    "PretrainedSuperNetConformance": "hnas_app.testing.pretrained_conformance",
    "SpaceConformance": "hnas_app.testing.space_conformance",
    "StrategyConformance": "hnas_app.testing.strategy_conformance",
    "TasksConformance": "hnas_app.testing.tasks_conformance",
    "TinySpace": "hnas_app.testing.tiny.space",
    "TinyTasks": "hnas_app.testing.tiny.tasks",
    "TrackerConformance": "hnas_app.testing.tracker_conformance",
}
"""The module of each name: the classes drive the search loop and the configuration, so they are the application's."""


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        return getattr(import_module(_LAZY[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
