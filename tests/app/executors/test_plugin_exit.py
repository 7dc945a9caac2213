"""Code that ends the program is named: the plugin and its method, or else the line."""

from __future__ import annotations

import sys
from typing import Any

import pytest

from hnas.errors import PluginError
from hnas.testing import TinySpace, TinyTasks
from hnas_app.executors.plugin_exit import ended_by_plugin
from hnas_plugins.meta_learners.maml import MAML
from hnas_plugins.meta_learners.options import MAMLPlusPlusOptions
from hnas_strategies.random_search import RandomSearch, RandomSearchOptions


def leave(*_: Any, **__: Any) -> Any:
    sys.exit(0)


class Space(TinySpace):
    def layers(self, *_: Any) -> Any:
        leave()


class Tasks(TinyTasks):
    def sample(self, *_: Any) -> Any:
        raise GeneratorExit


class Learner(MAML):
    def adapt(self, *_: Any) -> Any:
        [leave() for _ in range(1)]


class Strategy(RandomSearch):
    def ask(self) -> Any:
        raise cancelled()


def cancelled() -> BaseException:
    import asyncio

    return asyncio.CancelledError("of a task")


def told(method: Any) -> str:
    try:
        method()
    except BaseException as cause:
        error = ended_by_plugin(cause)
        assert isinstance(error, PluginError)
        return str(error)
    return pytest.fail("it did not end")


def test_the_plugin_and_its_method_are_named() -> None:
    assert told(Space().layers) == f"space {__name__}:Space, in layers(), tried to end the program: SystemExit: 0"
    assert told(Tasks(0.1, 1.0).sample).startswith(f"tasks {__name__}:Tasks, in sample(), ")
    assert told(Learner(MAMLPlusPlusOptions()).adapt).startswith(f"learner {__name__}:Learner, in adapt(), ")
    assert told(Strategy(RandomSearchOptions()).ask).endswith(
        "in ask(), tried to end the program: CancelledError: of a task"
    )


def test_other_code_is_named_by_its_line() -> None:
    assert told(leave).startswith(f"{__name__} ({__file__}, line ")
