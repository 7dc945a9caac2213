"""The two lazy doors from the core to the application: what editors and mypy see is what Python finds."""

from __future__ import annotations

import ast
import importlib
import inspect

import pytest

import hnas
import hnas.testing


def typed_names(module: object) -> dict[str, str]:
    """Return the names that a module imports for type checkers only, and the module of each."""
    (block,) = (n for n in ast.parse(inspect.getsource(module)).body if isinstance(n, ast.If))
    imports = (n for n in block.body if isinstance(n, ast.ImportFrom))
    return {alias.name: node.module or "" for node in imports for alias in node.names}


def test_type_checkers_know_every_lazy_name():
    assert typed_names(hnas) == hnas._LAZY
    assert set(hnas._LAZY) < set(hnas.__all__)
    assert typed_names(hnas.testing) == hnas.testing._LAZY
    assert set(hnas.testing._LAZY) == set(hnas.testing.__all__)


@pytest.mark.parametrize("module", [hnas, hnas.testing])
def test_a_lazy_name_is_the_application_s(module):
    for name, place in module._LAZY.items():
        assert getattr(module, name) is getattr(importlib.import_module(place), name)


def test_the_lists_of_names_are_sorted_and_complete():
    assert [n for n in hnas.__all__ if not hasattr(hnas, n)] == []
    assert set(hnas.__all__) <= set(dir(hnas))
    assert [n for n in hnas.testing.__all__ if not hasattr(hnas.testing, n)] == []


@pytest.mark.parametrize("module", [hnas, hnas.testing])
def test_another_name_is_an_attribute_error(module):
    """`hasattr`, and tools that look a module over, rely on it."""
    with pytest.raises(AttributeError, match=f"module '{module.__name__}' has no attribute 'nothing'"):
        _ = module.nothing
