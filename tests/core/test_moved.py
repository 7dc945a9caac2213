"""Old names of modules: a few are the same modules still, the others say where to look."""

from __future__ import annotations

import importlib
import pkgutil
import re

import pytest

from hnas.discovery.moved import KEPT, MOVED


@pytest.mark.parametrize("old", KEPT)
def test_a_kept_name_is_the_same_module_with_its_parts(old: str) -> None:
    """A second copy would have classes of its own, which no `isinstance` knows."""
    new = importlib.import_module(KEPT[old])
    assert importlib.import_module(old) is new
    for part in pkgutil.iter_modules(getattr(new, "__path__", ())):
        if f"{old}.{part.name}" not in MOVED:
            same = importlib.import_module(f"{new.__name__}.{part.name}")
            assert importlib.import_module(f"{old}.{part.name}") is same
    assert new.__spec__ is not None
    assert new.__spec__.name == KEPT[old]


def test_names_are_imported_from_kept_modules() -> None:
    from hnas.cost_table import CostTable
    from hnas.plugins import Plugin, Registry
    from hnas.plugins.loading import construct

    import hnas

    assert (Plugin, Registry) == (hnas.Plugin, hnas.Registry)
    assert CostTable is importlib.import_module("hnas.cost").CostTable
    assert construct is importlib.import_module("hnas.discovery.loading").construct


@pytest.mark.parametrize("old", MOVED)
def test_a_moved_name_says_where_it_is_now(old: str) -> None:
    with pytest.raises(ModuleNotFoundError, match=re.escape(f"{old} has moved: it is {MOVED[old]} now")) as error:
        importlib.import_module(old)
    assert error.value.name == old
    for new in re.split(", | and ", MOVED[old]):
        importlib.import_module(new)


@pytest.mark.parametrize("name", ["hnas.no_such_module", "hnas.plugins.no_such_part"])
def test_another_name_is_missing_as_ever(name: str) -> None:
    with pytest.raises(ModuleNotFoundError):
        importlib.import_module(name)
