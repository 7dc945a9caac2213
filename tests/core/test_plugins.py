"""The registry: names, isolation of failures, conflicts, versions; with real entry points of real distributions."""

from __future__ import annotations

import sys
from importlib.util import find_spec

import pytest

from hnas.discovery import API, Registry, resolve
from hnas.errors import ConfigError, PluginError

ONE = """
from attrs import frozen
from hnas import DeviceInfo, HardwareBackend, Metric, Plugin, hookimpl


@frozen
class Options:
    size: int = 1


class Board(HardwareBackend):
    def __init__(self, options):
        self.size = options.size

    def describe(self):
        return DeviceInfo(backend="board", device="b", runtime="1", metrics=(Metric(name="latency", unit="ms"),))

    def measure(self, layers):
        return iter(())


@hookimpl
def {hook}():
    return [Plugin(name="{name}", summary="", factory=Board, options=Options, api={api})]{more}
"""


def one(hook: str = "hnas_backends", name: str = "board", api: int = API, also: tuple[str, ...] = ()) -> str:
    more = "".join(f" + [Plugin(name={n!r}, summary='', factory=Board, options=Options)]" for n in also)
    return ONE.format(hook=hook, name=name, api=api, more=more)


def test_a_plugin_of_another_distribution_is_found_and_constructed(make_distribution, make_registry):
    make_distribution("hnas-backend-board", one(), version="2.1")
    registry = make_registry()
    found = registry.get("backend", "board")
    assert (found.distribution, found.version) == ("hnas-backend-board", "2.1")
    assert registry.create("backend", "board").size == 1
    assert registry.create("backend", "board", registry.options_class("backend", "board")(size=5)).size == 5


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
    assert registry.failures[0].cause.startswith("unknown hook 'hnas_backend'. Did you mean 'hnas_backends'")


@pytest.mark.parametrize(
    ("old", "new", "cause"),
    [
        ("[Plugin(", "['board'] or [Plugin(", "hnas_backends returned 'board', expected hnas.Plugin descriptors"),
        ("return [Plugin(", "[Plugin(", "hnas_backends returned None, expected a list of hnas.Plugin descriptors"),
        (
            "return [",
            "return 'board' or [",
            "hnas_backends returned 'board', expected a list of hnas.Plugin descriptors",
        ),
        ("return [", "return 2 * [", "hnas_backends returned 'board' twice"),
        ("@hookimpl\n", "", "has no function marked with @hnas.hookimpl. It has hnas_backends without it."),
        ("hnas_backends():", "hnas_backends(options):", "Argument(s) {'options'} are declared in the hookimpl"),
        ('"board", summary', '"my board", summary', "'my board': a name has letters, digits and"),
        ("factory=Board", "factory='board'", "factory='board', expected 'package.module:Name'"),
        ("options=Options", "options=Options()", "expected a class or 'package.module:Name'"),
        ("api=1", "requires='boardlib'", "'requires' must be"),
        ("from attrs", "raise SystemExit('bye')\nfrom attrs", "SystemExit: bye"),
    ],
)
def test_a_mistake_in_the_hooks_is_that_plugins_error(make_distribution, make_registry, old, new, cause):
    source = one().replace(old, new)
    assert source != one()
    make_distribution("hnas-backend-board", source)
    registry = make_registry(warn=lambda text: None)
    assert registry.list() == []
    assert cause in registry.failures[0].cause


def test_two_plugins_of_one_name_name_both_distributions_and_can_be_picked(make_distribution, make_registry):
    make_distribution("hnas-backend-a", one())
    make_distribution("hnas-backend-b", one())
    registry = make_registry()
    with pytest.raises(PluginError, match="hnas-backend-a and hnas-backend-b") as error:
        registry.get("backend", "board")
    assert "board@hnas-backend-a" in str(error.value.hint)
    assert registry.get("backend", "board@hnas-backend-b").distribution == "hnas-backend-b"


def test_a_distribution_that_is_named_otherwise_is_the_same(make_distribution, make_registry):
    """Case and separators of a distribution's name make no difference to pip."""
    make_distribution("Hnas_Backend_A", one())
    make_distribution("hnas-backend-b", one())
    assert make_registry().get("backend", "board@hnas-backend-a").distribution == "Hnas_Backend_A"


def test_a_distribution_that_does_not_provide_the_name_is_told_with_those_that_do(make_distribution, make_registry):
    make_distribution("hnas-backend-a", one())
    with pytest.raises(PluginError, match=r"'board' is not provided by 'hnas-backend-aa', but by hnas-backend-a\. Did"):
        make_registry().get("backend", "board@hnas-backend-aa")


def test_one_distribution_that_provides_a_name_twice_is_told(make_distribution, make_registry, site):
    """No ``name@distribution`` could pick one of them."""
    make_distribution("hnas-backend-a", one())
    points = next(site.glob("hnas_backend_a*.dist-info")) / "entry_points.txt"
    points.write_text(points.read_text() + "again = hnas_backend_a_module\n")
    with pytest.raises(PluginError, match=r"provided twice by hnas-backend-a 1\.0") as error:
        make_registry().get("backend", "board")
    assert "HNAS_DISABLE_PLUGINS" in str(error.value.hint)


def test_the_name_to_use_carries_the_distribution_only_where_it_has_to(make_distribution, make_registry):
    make_distribution("hnas", one(name="own"))
    make_distribution("hnas-backend-a", one(name="board", also=("own", "other")))
    make_distribution("hnas-backend-b", one(name="board"))
    registry = make_registry()
    names = [registry.selector(r) for r in registry.list()]
    assert names == ["own", "board@hnas-backend-a", "own@hnas-backend-a", "other", "board@hnas-backend-b"]
    assert [registry.get("backend", n) for n in names] == registry.list()


def test_a_newer_api_is_refused_with_what_to_install(make_distribution, make_registry):
    make_distribution("hnas-backend-board", one(api=API + 1))
    with pytest.raises(PluginError, match=f"needs plugin api {API + 1}") as error:
        make_registry(warn=lambda text: None).get("backend", "board")
    assert "pip install --upgrade hnas" in str(error.value.hint)


def test_a_newer_api_leaves_only_its_plugin_out(make_distribution, make_registry):
    make_distribution("hnas-backend-board", one(api=API + 1, also=("older",)))
    told: list[str] = []
    registry = make_registry(warn=told.append)
    assert [r.plugin.name for r in registry.list()] == ["older"]
    assert len(told) == len(registry.failures) == 1
    assert "hnas-backend-board 1.0" in told[0]
    assert f"needs plugin api {API + 1}; hnas " in told[0]
    with pytest.raises(PluginError, match="needs plugin api"):
        make_registry(strict=True).list()


def test_strict_mode_does_not_register_twice_what_it_loaded_before(make_distribution, make_registry):
    make_distribution("hnas-backend-a", one())
    make_distribution("hnas-backend-b", "raise RuntimeError('no cable')")
    registry = make_registry(strict=True)
    with pytest.raises(PluginError, match="no cable"):
        registry.list()
    assert [r.plugin.name for r in registry.list()] == ["board"]


@pytest.mark.parametrize("name", ["hnas-backend-b", "hnas-backend-b , other", "Hnas_Backend_B"])
def test_a_disabled_distribution_is_not_loaded(make_distribution, make_registry, monkeypatch, name):
    make_distribution("hnas-backend-a", one(name="a"))
    make_distribution("hnas-backend-b", "raise RuntimeError('loaded all the same')")
    monkeypatch.setenv("HNAS_DISABLE_PLUGINS", name)
    registry = make_registry(strict=True)
    assert [r.plugin.name for r in registry.list()] == ["a"]


def test_a_disabled_plugin_is_not_there_and_the_error_says_why(make_distribution, make_registry, monkeypatch):
    make_distribution(
        "hnas-backend-a", one(name="a") + "    + [Plugin(name='b', summary='', factory=Board, options=Options)]\n"
    )
    monkeypatch.setenv("HNAS_DISABLE_PLUGINS", "b")
    registry = make_registry()
    assert [r.plugin.name for r in registry.list()] == ["a"]
    with pytest.raises(PluginError, match="unknown backend 'b'") as error:
        registry.get("backend", "b")
    assert "HNAS_DISABLE_PLUGINS leaves out b" in str(error.value.hint)


def test_no_plugins_leaves_third_party_ones_out_and_the_error_says_why(make_distribution, make_registry):
    make_distribution("hnas-backend-board", one())
    registry = make_registry(third_party=False)
    assert registry.list() == []
    with pytest.raises(PluginError) as error:
        registry.get("backend", "board")
    assert "--no-plugins leaves out" in str(error.value.hint)


def test_a_built_in_name_resolves_without_loading_third_party_code(make_distribution, make_registry):
    make_distribution("hnas", one(name="own"))
    make_distribution("hnas-backend-third", one(name="third"))
    registry = make_registry()
    assert registry.get("backend", "own").distribution == "hnas"
    assert "hnas_backend_third_module" not in sys.modules
    assert registry.get("backend", "third").distribution == "hnas-backend-third"


def test_a_factory_that_cannot_be_imported_says_what_to_install(make_distribution, make_registry):
    source = one().replace("factory=Board", 'factory="no_such_lib.board:Board"')
    source = source.replace(f"api={API}", f'api={API}, requires=("boardlib>=2",)')
    make_distribution("hnas-backend-board", source)
    with pytest.raises(PluginError, match=r"cannot import 'no_such_lib\.board:Board'") as error:
        make_registry().create("backend", "board")
    assert error.value.hint == "pip install 'boardlib>=2'", "a shell takes > for a redirection"


def test_a_class_inside_another_can_be_named(make_distribution, make_registry):
    """A class in user code has its options inside; as a plugin it is described without a change."""
    source = one().replace("options=Options", "options='hnas_backend_board_module:Outer.Options'")
    make_distribution("hnas-backend-board", source + "\n\nclass Outer:\n    Options = Options\n")
    assert make_registry().create("backend", "board").size == 1


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("self.size = options.size", "self.size = options.length", "cannot be constructed: AttributeError: "),
        ("factory=Board", "factory=lambda options: 3", "its factory made 3, expected a hnas.HardwareBackend"),
        ("    def measure", "    def measuer", "cannot be constructed: TypeError: .*abstract"),
        ("options=Options", "options=Board", "its options are <class .*Board'>, expected an attrs class"),
    ],
)
def test_a_plugin_that_cannot_be_made_is_told_with_its_distribution(
    make_distribution, make_registry, old, new, message
):
    assert old in one()
    make_distribution("hnas-backend-board", one().replace(old, new))
    with pytest.raises(PluginError, match=f"backend 'board' of hnas-backend-board 1.0:? {message}"):
        make_registry().create("backend", "board")


def test_every_built_in_can_be_resolved():
    """A descriptor that points to a module or class that is not there fails only when used; this uses all of them."""
    registry = Registry(third_party=False, strict=True)
    found = registry.list()
    assert {r.kind for r in found} == {"space", "learner", "backend", "strategy", "tasks", "tracker", "supernet"}
    for r in found:
        if r.kind == "supernet":  # its files are held by the conformance tests
            continue
        if r.kind == "tracker":  # they need packages and servers to be made
            assert resolve(r.plugin.factory, r) is not None
            assert registry.options_class(r.kind, r.plugin.name) is not None
            continue
        without = {"solver": "sinkhorn"} if r.plugin.name == "deepemd" and find_spec("ot") is None else None
        assert registry.create(r.kind, r.plugin.name, without) is not None


def test_options_may_be_given_by_name(make_distribution, make_registry):
    """Values as JSON has them are made what the types say; without any, the defaults count."""
    fields = "size: int = 1\n    names: tuple[str, ...] = ()\n    way: Literal['a', 'b'] = 'a'"
    source = one().replace("size: int = 1", fields).replace("self.size = options.size", "self.options = options")
    make_distribution("hnas-backend-board", f"from typing import Literal\n{source}")
    registry = make_registry()
    made = registry.create("backend", "board", {"size": 5, "names": ["x"], "way": "b"}).options
    assert made == registry.options_class("backend", "board")(size=5, names=("x",), way="b")
    assert registry.create("backend", "board", {}).options == registry.options_class("backend", "board")()
    for wrong, told in (
        (
            {"sise": 5},
            r"backend 'board' of hnas-backend-board 1\.0 has no option 'sise'\. Did you mean 'size'\? It has",
        ),
        ({"size": "many"}, r"options of backend 'board' of .*: expected a whole number, got 'many' @ \$\.size"),
        ({"size": True}, "expected a whole number, got True"),
        ({"way": "c"}, "expected one of 'a', 'b', got 'c'"),
    ):
        with pytest.raises(ConfigError, match=told):
            registry.create("backend", "board", wrong)


def test_options_by_name_are_held_to_their_bounds():
    """`VGG9({...})` would fail at an attribute, and a learner only when it is used."""
    with pytest.raises(ConfigError, match=r"learner 'maml' of hnas .*'inner_steps' must be > 0: 0"):
        Registry().create("learner", "maml", {"inner_steps": 0})
