"""Checks of a plugin: each fault is found by the check that is meant for it, and told with what to do."""

from __future__ import annotations

import attrs
import pytest

from hnas import PluginError
from hnas_app.cli import run
from hnas_app.plugin_tools.check import Finding, check
from hnas_app.plugin_tools.import_cost import import_cost

BOARD = """
from attrs import field, frozen
from hnas import DeviceError, DeviceInfo, HardwareBackend, Measurement, Metric, Plugin, Rounds, hookimpl
from hnas.settings import positive, setting


@frozen(kw_only=True)
class Options:
    speed: float = setting(1.0, "multiply-accumulates a millisecond", positive)


class Board(HardwareBackend):
    def __init__(self, options):
        self.speed = options.speed

    def describe(self):
        metrics = (Metric(name="latency", unit="ms"),)
        return DeviceInfo(backend="board", device="b", runtime="1", metrics=metrics, settings={"speed": self.speed})

    def measure(self, layers):
        for layer in layers:
            yield {"latency": Measurement(median=layer.macs / self.speed, unit="ms")}


@hookimpl
def hnas_backends():
    return [Plugin(name="board", summary="a board", factory=Board, options=Options, requires=("attrs>=20",))]
"""


@pytest.fixture
def checked(make_distribution, make_registry):
    """Check the board's plugin after a change of its source, all but its import."""

    def find(old: str = "", new: str = "") -> list[Finding]:
        assert old in BOARD
        make_distribution("hnas-backend-board", BOARD.replace(old, new))
        registry = make_registry(strict=True)
        return check(attrs.evolve(registry.get("backend", "board"), module=""))

    return find


def test_a_good_plugin_has_only_good_findings(checked):
    assert [(f.level, f.check) for f in checked()] == [
        ("ok", "requires"),
        ("ok", "options"),
        ("ok", "factory"),
        ("ok", "interface"),
        ("ok", "interface"),
    ]


@pytest.mark.parametrize(
    ("old", "new", "level", "name", "told"),
    [
        ('"attrs>=20"', '"no-such-dist>=2"', "failed", "requires", "pip install 'no-such-dist>=2'"),
        ('"attrs>=20"', '"attrs<1"', "failed", "requires", "attrs<1 is required, "),
        ('"attrs>=20"', '"attrs >> 2"', "failed", "requires", "no requirement such as"),
        ("@frozen(kw_only=True)\n", "", "failed", "options", "expected an attrs class"),
        ("float = setting(1.0", "float = setting('1'", "failed", "options", "TypeError"),
        ("float = setting(1.0", "str = setting(1.0", "failed", "options", "speed does not agree with its type"),
        ("setting(1.0", "setting(object()", "failed", "options", ""),
        ('setting(1.0, "multiply-accumulates a millisecond", positive)', "1.0", "hint", "options", "has no help"),
        ('setting(1.0, "multiply-accumulates a millisecond", positive)', "field()", "warning", "options", "no default"),
        ("factory=Board", "presets={'quick': {}}, factory=Board", "ok", "presets", "has a table for quick"),
        ("factory=Board", "presets={'quick': {'search': {'tsks': 1}}}, factory=Board", "failed", "presets", "'tasks'"),
        ("factory=Board", "factory='no_such.module:Board'", "failed", "factory", "cannot import"),
        ("factory=Board", "factory=lambda o: o", "failed", "factory", "expected a hnas.HardwareBackend"),
        ("options.speed", "1 / 0", "failed", "factory", "ZeroDivisionError"),
        ("options.speed", "exit('bye')", "failed", "factory", "SystemExit: bye"),
        ("self.speed = options", "raise DeviceError('no cable') or options", "warning", "factory", "no cable"),
        (
            '        metrics = (Metric(name="latency", unit="ms"),)',
            "        metrics = ()",
            "failed",
            "interface",
            "needs",
        ),
        ('unit="ms"', 'unit="parsec"', "warning", "interface", "no limit can be set on latency_parsec"),
        ('unit="ms")}', 'unit="s")}', "failed", "interface", "'s' for conv2d-"),
        (
            'yield {"latency"',
            'yield {"time"',
            "failed",
            "interface",
            "no 'latency' for conv2d-3x16x16-8x16x16-k3s1p1g1b1; it gave ['time']",
        ),
        ('unit="ms")}', 'unit="ms"), "energy": 1.0}', "failed", "interface", "gives ['energy'] of conv2d-"),
        (
            'Measurement(median=layer.macs / self.speed, unit="ms")}',
            "layer.macs / self.speed}",
            "failed",
            "interface",
            "board gave latency = 55296.0 for conv2d-3x16x16-8x16x16-k3s1p1g1b1; expected a hnas.Measurement",
        ),
        ("layer.macs", "layer.mcs", "failed", "interface", "failed at the layer conv2d-3x16x16-8x16x16-k3s1p1g1b1: "),
        ("median=layer.macs", "median=-layer.macs", "failed", "interface", "expected a finite number, not negative"),
        ("for layer in layers:", "for layer in layers[1:]:", "failed", "interface", "1 costs for 2 layers"),
        ('{"speed": self.speed}', '{"speed": self}', "failed", "interface", "TypeError"),
        ("        metrics = (", "        raise DeviceError('off')\n        metrics = (", "warning", "interface", "off"),
        (
            "            yield",
            "            raise OSError('gone')\n            yield",
            "failed",
            "interface",
            "OSError: gone",
        ),
    ],
)
def test_a_fault_is_found(checked, old, new, level, name, told):
    found = checked(old, new)
    assert any(f.level == level and f.check == name and told in f.told for f in found), found
    if level != "failed":
        assert all(f.level != "failed" for f in found), "it can be used all the same"


def test_nothing_is_said_to_be_well_that_failed(checked):
    """`ok interface: prices 2 layers` stands right below `latency is -0.017`."""
    found = checked("median=layer.macs", "median=-layer.macs")
    assert [f.level for f in found if f.check == "interface"] == ["ok", "failed", "failed"]
    assert not any("prices" in f.told for f in found)


def test_a_device_is_asked_what_it_is_and_no_more(checked):
    """One with rounds is real: measuring takes minutes, and needs the device."""
    found = checked('settings={"speed": self.speed})', "settings={}, rounds=Rounds())")
    assert found[-1] == Finding("ok", "interface", "b: latency_ms")


@pytest.fixture
def importable(tmp_path, monkeypatch):
    """Put a module where a fresh process finds it."""
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))

    def make(source: str) -> str:
        (tmp_path / "hooks_to_measure.py").write_text(source)
        return "hooks_to_measure"

    return make


def test_an_import_is_measured_without_what_hnas_imports_itself(importable):
    cost = import_cost(importable("import attrs, pluggy, time; time.sleep(0.2); print('hello')"))
    assert 0.2 <= cost.seconds < 60
    assert cost.heavy == ()
    assert cost.printed == "hello\n"


def test_heavy_packages_are_named(importable):
    assert import_cost(importable("import matplotlib")).heavy == ("matplotlib",)


@pytest.mark.parametrize("source", ["raise OSError('no cable')", "import sys; sys.exit('no cable')"])
def test_an_import_that_fails_is_a_plugin_error(importable, source):
    with pytest.raises(PluginError, match="no cable"):
        import_cost(importable(source))


# ---------------------------------------------------------------- the command


def test_a_class_in_a_file_is_checked(tmp_path, capsys):
    path = tmp_path / "board_to_check.py"
    path.write_text(BOARD)
    assert run(["plugins", "check", f"{path}:Board"]) == 4, "it takes options and declares none"
    assert "cannot be constructed" in capsys.readouterr().out
    path = tmp_path / "good_board_to_check.py"
    path.write_text(
        BOARD.replace("class Board(HardwareBackend):", "class Board(HardwareBackend):\n    Options = Options\n")
    )
    assert run(["plugins", "check", f"{path}:Board"]) == 0
    told = capsys.readouterr()
    assert told.out.startswith(f"passed: backend {path}:Board of user code\n")
    assert told.err == f"next: hnas run --backend {path}:Board\n"


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("vgg", "unknown plugin 'vgg'. Did you mean 'vgg9'?"),
        ("./no_such.py:Board", "there is no file"),
        ("json:JSONDecoder", "JSONDecoder is a subclass of none of hnas.SearchSpace, "),
        ("json:JSONDecodr", "there is no such class. Did you mean 'JSONDecoder'"),
    ],
)
def test_what_cannot_be_checked_is_told(name, told, capsys):
    assert run(["plugins", "check", name]) == 4
    assert told in capsys.readouterr().err


def test_without_third_party_plugins_there_is_nothing_to_check(capsys):
    assert run(["plugins", "check", "--no-plugins"]) == 0
    assert capsys.readouterr().out == "no third-party plugin is installed\n"


def test_built_in_plugins_pass(capsys):
    assert run(["plugins", "check", "eyeriss-rs"]) == 0
    told = capsys.readouterr()
    assert told.out.startswith("passed: backend eyeriss-rs of hnas ")
    assert "  ok       interface: prices 2 layers\n" in told.out
