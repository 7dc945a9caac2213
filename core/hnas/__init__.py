"""H-Meta-NAS as a plugin framework. Importing it imports neither torch nor any plugin."""

from hnas._version import __version__
from hnas.api import Run, load_run, run
from hnas.architecture import Architecture, Choice
from hnas.backend import HardwareBackend
from hnas.cost import Cost, DeviceInfo, Measurement, Metric, Rounds
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
from hnas.events import Event
from hnas.layer import Layer
from hnas.learner import MetaLearner, Progress, Scores
from hnas.norm_stats import NormStats
from hnas.plugins import Plugin, Registry, hookimpl
from hnas.results import NetworkResult, Results
from hnas.seeds import Seeds
from hnas.space import SearchSpace
from hnas.strategy import Ask, Scored, SearchProblem, SearchStrategy
from hnas.supernet import SuperNet
from hnas.task_source import TaskSource

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
    "Layer",
    "Measurement",
    "MetaLearner",
    "Metric",
    "NetworkResult",
    "NormStats",
    "Plugin",
    "PluginError",
    "Progress",
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
    "TaskSource",
    "UnsteadyError",
    "__version__",
    "hookimpl",
    "load_run",
    "run",
]
