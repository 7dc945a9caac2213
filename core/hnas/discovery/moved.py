"""Old names of modules: a few still work, the others raise an error with the new name."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib import import_module
from importlib.machinery import ModuleSpec
from types import ModuleType

KEPT = {
    "hnas.cost_table": "hnas.cost",
    "hnas.dataflow": "hnas.toolkit.dataflow",
    "hnas.plugins": "hnas.discovery",
}
"""Modules that plugins may import by an old name, which still gives the same module."""
MOVED = {
    "hnas.accuracy": "hnas_app.training.accuracy",
    "hnas.agreement": "hnas_app.costs.agreement",
    "hnas.api": "hnas_app.usecases",
    "hnas.checkpoint": "hnas_app.training.checkpoint",
    "hnas.cli": "hnas_app.cli",
    "hnas.config": "hnas_app.config",
    "hnas.console": "hnas_app.trackers.terminal",
    "hnas.constraint": "hnas_app.costs.limits",
    "hnas.cost_store": "hnas_app.costs.store",
    "hnas.devices": "hnas.toolkit.devices",
    "hnas.download": "hnas.toolkit.remote_file and hnas_app.usecases.download",
    "hnas.environment": "hnas_app.runs.environment",
    "hnas.evaluator": "hnas_app.search.evaluator",
    "hnas.executor": "hnas_app.executors",
    "hnas.export": "hnas_app.export",
    "hnas.feasibility": "hnas_app.search.feasibility",
    "hnas.files": "hnas.toolkit.files and hnas_app.trackers.json_lines",
    "hnas.fixed_norm": "hnas_app.training.fixed_norm",
    "hnas.front": "hnas_app.fronts.dominance",
    "hnas.front_scoring": "hnas_app.fronts.scoring",
    "hnas.home": "hnas.toolkit.home",
    "hnas.measuring": "hnas_app.costs.measuring",
    "hnas.meta_batch": "hnas_app.training.meta_batch",
    "hnas.phases": "hnas_app.training, hnas_app.costs and hnas_app.search",
    "hnas.pictures": "hnas.toolkit.pictures",
    "hnas.pipeline": "hnas_app.runs.pipeline",
    "hnas.plugin_projects": "hnas_app.plugin_tools.projects",
    "hnas.plugins.check": "hnas_app.plugin_tools.check",
    "hnas.records": "hnas.toolkit.codec",
    "hnas.rounds": "hnas.toolkit.table_file and hnas_app.costs.measuring",
    "hnas.run_dir": "hnas_app.runs.run_dir",
    "hnas.score_store": "hnas_app.search.score_store",
    "hnas.search_loop": "hnas_app.search.loop",
    "hnas.session": "hnas_app.runs.session",
    "hnas.setup": "hnas_app.training.setup",
    "hnas.source_digest": "hnas_app.costs.description",
    "hnas.sweep": "hnas_app.search.loop",
    "hnas.table_file": "hnas.toolkit.table_file",
    "hnas.training": "hnas_app.training.outer_loop",
    "hnas.transfer": "hnas_app.training.setup.setup",
    "hnas.truncation": "hnas_app.search.truncation",
}
"""Modules that the documents of earlier versions named."""


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
