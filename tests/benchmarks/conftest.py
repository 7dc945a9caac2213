"""The benchmarks and experiments are scripts: their modules are found from their own folders."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def benchmark_module() -> Callable[[str], ModuleType]:
    """Return a function that imports a module of the benchmarks or the experiments, by name."""

    def load(name: str) -> ModuleType:
        with pytest.MonkeyPatch.context() as patch:
            patch.syspath_prepend(ROOT / "experiments")
            patch.syspath_prepend(ROOT / "experiments" / "wins")
            patch.syspath_prepend(ROOT / "experiments" / "zoo")
            patch.syspath_prepend(ROOT / "experiments" / "supernet")
            patch.syspath_prepend(ROOT / "benchmarks")
            return import_module(name)

    return load
