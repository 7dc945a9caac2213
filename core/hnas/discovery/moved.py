"""Old names of modules: a few still work, the others raise an error with the new name."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib import import_module
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType

KEPT = {"hnas.cost_table": "hnas.cost", "hnas.dataflow": "hnas.toolkit.dataflow", "hnas.plugins": "hnas.discovery"}
"""Modules that plugins may import by an old name, which still gives the same module."""
MOVED = dict(line.split(": ") for line in (Path(__file__).parent / "moved.txt").read_text().splitlines())
"""Modules that the documents of earlier versions named, and where they are now."""


class MovedModules:
    """Finds modules by their old names; goes before Python's own finders, which would load a kept one twice."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Return the module under its old name. Raises `ModuleNotFoundError` with the new place of one that moved."""
        if not fullname.startswith("hnas."):
            return None
        if fullname in MOVED:
            raise ModuleNotFoundError(f"{fullname} has moved: it is {MOVED[fullname]} now", name=fullname)
        # A finder and loader by its methods: the abstract classes take longer to import than all of this.
        return ModuleSpec(fullname, self) if _kept(fullname) else None  # type: ignore[arg-type]

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        # A stand-in: Python would write the old name's spec into the module itself.
        return ModuleType(spec.name)

    def exec_module(self, module: ModuleType) -> None:
        sys.modules[module.__name__] = import_module(_kept(module.__name__) or module.__name__)


def _kept(fullname: str) -> str | None:
    """Return the current name of a module, or submodule, whose old name still works."""
    for old, new in KEPT.items():
        if fullname == old or fullname.startswith(old + "."):
            return new + fullname[len(old) :]
    return None


def find_moved_modules() -> None:
    """Register the finder of old names; called once, by ``import hnas``."""
    if not any(isinstance(finder, MovedModules) for finder in sys.meta_path):
        sys.meta_path.insert(0, MovedModules())
