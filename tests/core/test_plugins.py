"""The registry: names, isolation of failures, conflicts, versions; with real entry points of real distributions."""

from __future__ import annotations

import sys

import pytest

from hnas.errors import PluginError
from hnas.plugins import API, Registry

ONE = """
from attrs import frozen
from hnas import Plugin, hookimpl


@frozen
class Options:
    size: int = 1


@hookimpl
def {hook}():
    return [Plugin(name="{name}", summary="", factory=lambda o: ("made", o.size), options=Options, api={api})]
"""


def one(hook: str = "hnas_backends", name: str = "board", api: int = API) -> str:
    return ONE.format(hook=hook, name=name, api=api)


def test_a_plugin_of_another_distribution_is_found_and_constructed(make_distribution, make_registry):
    make_distribution("hnas-backend-board", one(), version="2.1")
    registry = make_registry()
    found = registry.get("backend", "board")
    assert (found.distribution, found.version) == ("hnas-backend-board", "2.1")
    assert registry.create("backend", "board") == ("made", 1)
    assert registry.create("backend", "board", registry.options_class("backend", "board")(size=5)) == ("made", 5)


def test_an_unknown_name_is_refused_with_its_close_match_and_the_list(make_distribution, make_registry):
    make_distribution("hnas-backend-board", one())
    with pytest.raises(PluginError, match=r"unknown backend 'bord'.*Did you mean 'board'\?.*Known: board") as error:
        make_registry().get("backend", "bord")
    assert error.value.exit_code == 4


def test_a_kind_does_not_see_the_names_of_another(make_distribution, make_registry):
    make_distribution("hnas-backend-board", one())
    with pytest.raises(PluginError, match="Known: none"):
        make_registry().get("space", "board")


def test_an_entry_point_that_fails_is_told_once_and_the_others_work(make_distribution, make_registry):
    make_distribution("hnas-backend-board", one())
    make_distribution("hnas-backend-broken", "import no_such_module_anywhere", version="0.3")
    told: list[str] = []
    registry = make_registry(warn=told.append)
    assert [r.plugin.name for r in registry.list()] == ["board"]
    assert [r.plugin.name for r in registry.list("backend")] == ["board"]
    assert len(told) == 1
    for part in ("hnas-backend-broken", "0.3", "no_such_module_anywhere"):
        assert part in told[0]
    assert registry.failures[0].distribution == "hnas-backend-broken"


def test_the_failure_is_named_where_its_plugin_is_asked_for(make_distribution, make_registry):
    make_distribution("hnas-backend-broken", "raise RuntimeError('no cable')")
    with pytest.raises(PluginError, match=r"hnas-backend-broken 1\.0 failed to load: RuntimeError: no cable"):
        make_registry(warn=lambda text: None).get("backend", "board")


def test_strict_mode_raises_a_plugin_error_instead(make_distribution, make_registry, monkeypatch):
    make_distribution("hnas-backend-broken", "raise RuntimeError('no cable')")
    monkeypatch.setenv("HNAS_STRICT_PLUGINS", "1")
    with pytest.raises(PluginError, match="no cable"):
        make_registry().list()


def test_a_mistyped_hook_is_that_plugins_error(make_distribution, make_registry):
    make_distribution("hnas-backend-board", one(hook="hnas_backend"))
    registry = make_registry(warn=lambda text: None)
    assert registry.list() == []
    assert "hnas_backend" in registry.failures[0].cause


def test_a_hook_that_returns_something_else_is_that_plugins_error(make_distribution, make_registry):
    source = "from hnas import hookimpl\n@hookimpl\ndef hnas_backends():\n    return ['board']\n"
    make_distribution("hnas-backend-board", source)
    registry = make_registry(warn=lambda text: None)
    assert registry.list() == []
    assert "expected hnas.Plugin descriptors" in registry.failures[0].cause


def test_two_plugins_of_one_name_name_both_distributions_and_can_be_picked(make_distribution, make_registry):
    make_distribution("hnas-backend-a", one())
    make_distribution("hnas-backend-b", one())
    registry = make_registry()
    with pytest.raises(PluginError, match="hnas-backend-a and hnas-backend-b") as error:
        registry.get("backend", "board")
    assert "board@hnas-backend-a" in str(error.value.hint)
    assert registry.get("backend", "board@hnas-backend-b").distribution == "hnas-backend-b"


def test_a_newer_api_is_refused_with_what_to_install(make_distribution, make_registry):
    make_distribution("hnas-backend-board", one(api=API + 1))
    with pytest.raises(PluginError, match=f"needs plugin api {API + 1}") as error:
        make_registry().get("backend", "board")
    assert "pip install --upgrade hnas" in str(error.value.hint)


@pytest.mark.parametrize("name", ["hnas-backend-b", "hnas-backend-b , other"])
def test_a_disabled_distribution_is_not_loaded(make_distribution, make_registry, monkeypatch, name):
    make_distribution("hnas-backend-a", one(name="a"))
    make_distribution("hnas-backend-b", "raise RuntimeError('loaded all the same')")
    monkeypatch.setenv("HNAS_DISABLE_PLUGINS", name)
    registry = make_registry(strict=True)
    assert [r.plugin.name for r in registry.list()] == ["a"]


def test_no_plugins_leaves_third_party_ones_out(make_distribution, make_registry):
    make_distribution("hnas-backend-board", one())
    assert make_registry(third_party=False).list() == []


def test_a_built_in_name_resolves_without_loading_third_party_code(make_distribution, make_registry):
    make_distribution("hnas", one(name="own"))
    make_distribution("hnas-backend-third", one(name="third"))
    registry = make_registry()
    assert registry.get("backend", "own").distribution == "hnas"
    assert "hnas_backend_third_module" not in sys.modules
    assert registry.get("backend", "third").distribution == "hnas-backend-third"


def test_a_factory_that_cannot_be_imported_says_what_to_install(make_distribution, make_registry):
    source = one().replace('factory=lambda o: ("made", o.size)', 'factory="no_such_lib.board:Board"')
    source = source.replace(f"api={API}", f'api={API}, requires=("boardlib>=2",)')
    make_distribution("hnas-backend-board", source)
    with pytest.raises(PluginError, match=r"cannot import 'no_such_lib\.board:Board'") as error:
        make_registry().create("backend", "board")
    assert error.value.hint == "pip install boardlib>=2"


def test_every_built_in_can_be_resolved():
    """A descriptor that points to a module or class that is not there fails only when used; this uses all of them."""
    registry = Registry(third_party=False, strict=True)
    found = registry.list()
    assert {r.kind for r in found} == {"space", "learner", "backend", "strategy", "tasks"}
    for r in found:
        assert registry.create(r.kind, r.plugin.name) is not None
