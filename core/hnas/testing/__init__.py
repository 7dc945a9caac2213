"""What tests of a plugin need: a conformance class for each kind, and a space, a super-net and tasks in small.

Subclass the class of your plugin's kind in a test file, say in `make` how one is made, and run pytest: the built-in
plugins are held to the same tests. Importing this imports neither torch nor pytest.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hnas_app.testing import (
        CHAIN,
        RESIDUAL,
        BackendConformance,
        LearnerConformance,
        SpaceConformance,
        StrategyConformance,
        TasksConformance,
        TinySpace,
        TinyTasks,
    )

__all__ = [
    "CHAIN",
    "RESIDUAL",
    "BackendConformance",
    "LearnerConformance",
    "SpaceConformance",
    "StrategyConformance",
    "TasksConformance",
    "TinySpace",
    "TinyTasks",
]


def __getattr__(name: str) -> Any:
    # The classes drive the search loop and the configuration, so they are part of the application.
    if name in __all__:
        return getattr(import_module("hnas_app.testing"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
