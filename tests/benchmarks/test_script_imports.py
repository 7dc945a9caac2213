"""Benchmarks and experiments are not type-checked: what they take from the packages has to be there."""

from __future__ import annotations

import ast
from importlib import import_module
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SCRIPTS = sorted([*ROOT.glob("benchmarks/*.py"), *ROOT.glob("experiments/**/*.py")])
PACKAGES = {"hnas", "hnas_app", "hnas_backends", "hnas_plugins", "hnas_strategies"}


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_names_that_a_script_takes_are_there(script: Path) -> None:
    """A function was renamed, and the script that measures a super-net for its card ended in an ImportError."""
    taken = [
        (node.module, alias.name)
        for node in ast.walk(ast.parse(script.read_text(encoding="utf-8")))
        if isinstance(node, ast.ImportFrom) and node.module and node.module.partition(".")[0] in PACKAGES
        for alias in node.names
    ]
    for module, name in taken:
        if not hasattr(import_module(module), name):
            import_module(f"{module}.{name}")
