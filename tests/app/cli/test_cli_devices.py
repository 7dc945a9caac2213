"""`hnas devices`, with a backend of a third party's whose devices are lamps."""

from __future__ import annotations

import json
import sys
import types
from collections.abc import Callable, Mapping
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any, ClassVar

import pytest
from attrs import frozen
from typer.testing import CliRunner, Result

from hnas import ConfigError, DeviceError, Plugin, PluginError, Registry, hookimpl
from hnas.toolkit.devices import Device, DeviceBook, DeviceKind
from hnas_app.cli.commands.devices import app
from hnas_app.cli.invocation import Invocation


@frozen(kw_only=True)
class NoOptions:
    pass


class Lamps(DeviceKind):
    forgotten: ClassVar[list[str]] = []

    def add(
        self, name: str, address: str, settings: Mapping[str, Any], confirm: Callable[[str], bool]
    ) -> Mapping[str, Any]:
        if not confirm(f"Is {address} your lamp?"):
            raise DeviceError("it is not")
        return {"address": address, **settings}

    def check(self, device: Device) -> Mapping[str, Any]:
        return {"address": device.settings["address"], "warnings": ["it is dark", "it is cold"]}

    def remove(self, device: Device) -> None:
        self.forgotten.append(device.name)


@pytest.fixture
def registry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Registry:
    module: Any = types.ModuleType("hnas_backend_lamps")
    plugins = [
        Plugin(name="lamps", summary="lamps", factory=lambda o: o, options=NoOptions, devices=Lamps),
        Plugin(name="model", summary="no devices", factory=lambda o: o, options=NoOptions),
    ]
    module.hnas_backends = hookimpl(lambda: plugins)
    module.hnas_backends.__name__ = "hnas_backends"
    monkeypatch.setitem(sys.modules, "hnas_backend_lamps", module)
    monkeypatch.setenv("HNAS_HOME", str(tmp_path))
    monkeypatch.setattr(Lamps, "forgotten", [])
    return Registry([EntryPoint("lamps", "hnas_backend_lamps", "hnas")])


def run(registry: Registry, *words: str) -> Result:
    invocation = Invocation()
    invocation.registry = registry  # type: ignore[misc]
    return CliRunner().invoke(app, list(words), obj=invocation)


ADD = ("add", "desk", "lamp.local", "--backend", "lamps")


def test_a_device_is_added_listed_checked_and_removed(registry: Registry):
    """The core must leave what a device is to its backend, and keep what that returns."""
    assert "next: hnas devices add NAME USER@HOST" in run(registry, "list").stderr
    added = run(registry, *ADD, "--yes", "--port", "7", "--identity", "key")
    assert added.exit_code == 0, added.output
    assert "Is lamp.local your lamp? yes" in added.stderr
    assert "next: hnas devices check desk" in added.stderr
    settings = {"address": "lamp.local", "port": 7, "identity": str(Path("key").absolute())}
    assert DeviceBook().get("desk") == Device(name="desk", backend="lamps", settings=settings)
    assert json.loads(run(registry, "list", "--json").stdout) == [
        {"name": "desk", "backend": "lamps", "settings": settings}
    ]
    assert "desk" in run(registry, "list").stdout
    checked = run(registry, "check", "desk")
    assert checked.stdout.splitlines()[1:] == ["warnings: it is dark", "warnings: it is cold"]
    assert "next: hnas profile --preset quick --backend lamps:desk" in checked.stderr  # what a quick run needs
    assert json.loads(run(registry, "check", "desk", "--json").stdout)["backend"] == "lamps"
    assert run(registry, "remove", "desk", "--yes").exit_code == 0
    assert Lamps.forgotten == ["desk"]
    assert DeviceBook().all() == []


def test_without_an_answer_nothing_is_kept_or_forgotten(registry: Registry):
    assert "--yes" in str(run(registry, *ADD).exception.hint)  # type: ignore[union-attr]
    assert DeviceBook().all() == []
    run(registry, *ADD, "--yes")
    assert isinstance(run(registry, "remove", "desk").exception, ConfigError)
    assert [d.name for d in DeviceBook().all()] == ["desk"]
    assert Lamps.forgotten == []


@pytest.mark.parametrize(
    ("words", "kind", "told"),
    [
        (("add", "Desk", "x", "--backend", "lamps", "--yes"), ConfigError, "cannot name a device"),
        (("add", "desk", "x", "--backend", "lampz", "--yes"), PluginError, "Did you mean 'lamps'"),
        (("add", "desk", "x", "--backend", "model", "--yes"), ConfigError, "has no devices with names"),
        (("check", "dest"), DeviceError, "unknown device 'dest'"),
        (("remove", "dest", "--yes"), DeviceError, "unknown device 'dest'"),
    ],
)
def test_mistakes_are_told(words, kind, told, registry: Registry):
    result = run(registry, *words)
    assert isinstance(result.exception, kind)
    assert told in str(result.exception)


def test_a_taken_name_is_told_before_the_device_is_asked(registry: Registry):
    run(registry, *ADD, "--yes")
    again = run(registry, *ADD)
    assert "exists already" in str(again.exception)
