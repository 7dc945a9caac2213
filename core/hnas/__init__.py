"""H-Meta-NAS as a plugin framework: the public API.

Importing it imports neither torch, nor any plugin, nor the application. The names in `_LAZY` belong to the application
and are imported when used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from hnas._version import __version__
from hnas.architecture import Architecture, Choice, Proposal
from hnas.backend import HardwareBackend
from hnas.cost import Cost, DeviceInfo, Measurement, Metric, Rounds
from hnas.discovery import Plugin, PretrainedSuperNet, Registry, SuperNetFile, hookimpl
from hnas.discovery.moved import find_moved_modules
from hnas.episode import Episodes, EpisodeSpec
from hnas.errors import (
    ConfigError,
    DataError,
    DeviceError,
    DivergenceError,
    HnasError,
    InfeasibleError,
    PluginError,
    UnsteadyError,
)
from hnas.events import Event, Tracker
from hnas.layer import Layer
from hnas.learner import Inference, MetaLearner, Progress, Scores
from hnas.seeds import Seeds
from hnas.space import SearchSpace
from hnas.strategy import Ask, Scored, SearchProblem, SearchStrategy
from hnas.supernet import NormStats, SuperNet
from hnas.task_source import TaskSource

if TYPE_CHECKING:
    from hnas_app.runs.results import NetworkResult, Results
    from hnas_app.usecases.python_api import compare, load_run, load_supernet, run
    from hnas_app.usecases.python_run import Run

__all__ = [
    "Architecture",
    "Ask",
    "Choice",
    "ConfigError",
    "Cost",
    "DataError",
    "DeviceError",
    "DeviceInfo",
    "DivergenceError",
    "EpisodeSpec",
    "Episodes",
    "Event",
    "HardwareBackend",
    "HnasError",
    "InfeasibleError",
    "Inference",
    "Layer",
    "Measurement",
    "MetaLearner",
    "Metric",
    "NetworkResult",
    "NormStats",
    "Plugin",
    "PluginError",
    "PretrainedSuperNet",
    "Progress",
    "Proposal",
    "Registry",
    "Results",
    "Rounds",
    "Run",
    "Scored",
    "Scores",
    "SearchProblem",
    "SearchSpace",
    "SearchStrategy",
    "Seeds",
    "SuperNet",
    "SuperNetFile",
    "TaskSource",
    "Tracker",
    "UnsteadyError",
    "__version__",
    "compare",
    "hookimpl",
    "load_run",
    "load_supernet",
    "run",
]

_LAZY = {
    "NetworkResult": "hnas_app.runs.results",
    "Results": "hnas_app.runs.results",
    "Run": "hnas_app.usecases.python_run",
    "compare": "hnas_app.usecases.python_api",
    "load_run": "hnas_app.usecases.python_api",
    "load_supernet": "hnas_app.usecases.python_api",
    "run": "hnas_app.usecases.python_api",
}
"""Public names of the application, and the module of each."""


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        return getattr(import_module(_LAZY[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__


find_moved_modules()
