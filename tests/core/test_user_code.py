"""Classes in user code, by file and by module: no packaging, clear refusals, and worker processes can pickle them."""

from __future__ import annotations

import multiprocessing
import os
from pathlib import Path

import pytest

from hnas.discovery import Registry
from hnas.errors import PluginError

BOARD = '''
"""A board."""
from attrs import frozen
from hnas import DeviceInfo, HardwareBackend, Metric


class MyBoard(HardwareBackend):
    """Measures nothing much."""

    @frozen
    class Options:
        volts: float = 3.3

    def __init__(self, options):
        self.options = options

    def describe(self):
        return DeviceInfo(backend="my", device="board", runtime="1", metrics=(Metric(name="latency", unit="ms"),))

    def measure(self, layers):
        return iter(())


class Plain(MyBoard):
    Options = None
    del Options

    def __init__(self):
        pass


class Half(HardwareBackend):
    def describe(self):
        raise NotImplementedError


NUMBER = 3
'''


@pytest.fixture
def registry(site: Path) -> Registry:
    return Registry([])


@pytest.fixture
def board(tmp_path: Path) -> Path:
    path = tmp_path / f"board_{os.getpid()}_{tmp_path.name}.py"
    path.write_text(BOARD)
    return path


def test_a_file_gives_a_backend_with_its_options(registry, board):
    backend = registry.create("backend", f"{board}:MyBoard")
    assert backend.options.volts == 3.3
    options = registry.options_class("backend", f"{board}:MyBoard")
    assert registry.create("backend", f"{board}:MyBoard", options(volts=5.0)).options.volts == 5.0


def test_a_relative_file_is_named_by_its_absolute_path(registry, board, monkeypatch):
    """A run must be resumable from another folder."""
    monkeypatch.chdir(board.parent)
    assert registry.get("backend", f"./{board.name}:MyBoard").plugin.name == f"{board}:MyBoard"


def test_a_module_of_the_working_folder_gives_a_backend(registry, board, monkeypatch):
    monkeypatch.chdir(board.parent)
    assert registry.get("backend", f"{board.stem}:MyBoard").plugin.summary == "Measures nothing much."


@pytest.mark.parametrize(
    ("reference", "message"),
    [
        ("{path}:MyBord", "Did you mean 'MyBoard'"),
        ("{path}:NUMBER", "NUMBER is not a subclass of hnas.HardwareBackend"),
        ("{path}:Half", "Half does not implement measure"),
        ("{path}.py:MyBoard", "there is no file"),
        ("no_such_module_here:MyBoard", "cannot import 'no_such_module_here'"),
    ],
)
def test_a_wrong_reference_is_a_plugin_error(registry, board, reference, message):
    with pytest.raises(PluginError, match=message):
        registry.get("backend", reference.format(path=board))


def test_a_file_with_an_error_names_it(registry, tmp_path):
    path = tmp_path / "breaks_on_import.py"
    path.write_text("1 / 0\n")
    with pytest.raises(PluginError, match="ZeroDivisionError"):
        registry.get("backend", f"{path}:MyBoard")


def test_a_file_named_like_an_installed_module_is_refused(registry, tmp_path):
    """Else `import json` elsewhere could get the user's file."""
    path = tmp_path / "json.py"
    path.write_text(BOARD)
    with pytest.raises(PluginError, match="a module 'json' is already there"):
        registry.get("backend", f"{path}:MyBoard")


def test_a_registered_name_wins_over_a_module(make_distribution, make_registry, tmp_path, monkeypatch):
    """`NAME:DEVICE` must never import a module that is called like the backend."""
    make_distribution(
        "hnas-backend-board",
        "from hnas import Plugin, hookimpl\n@hookimpl\ndef hnas_backends():\n"
        "    return [Plugin(name='board', summary='', factory=int, options=int)]\n",
    )
    (tmp_path / "board.py").write_text("raise SystemExit('imported')")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(PluginError, match="unknown backend 'board:kitchen'"):
        make_registry().get("backend", "board:kitchen")


def test_a_spawned_worker_can_unpickle_a_users_object(registry, board):
    backend = registry.create("backend", f"{board}:MyBoard")
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        assert pool.apply(getattr, (backend, "options")).volts == 3.3
