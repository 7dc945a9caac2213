"""`hnas plugins check` runs the conformance tests: what fails, hangs or ends the process is told; nothing is silent."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any

import pytest

from hnas import Registry
from hnas_app.cli import run
from hnas_app.plugin_tools.conformance import Conformance
from hnas_app.plugin_tools.conformance_process import NotTried, prepared

SPACE = """
from hnas.testing import TinySpace

class Strange(TinySpace):
    def __init__(self):
        super().__init__(depth=1, widths=(2, 4), acts=("relu",))

    def references(self):
        return {"mine": self.largest().__class__("other", (0,))}

    def layers(self, arch, input_shape, n_way):
        found = list(super().layers(arch, input_shape, n_way))
        return found[:1] + found if arch == self.largest() and n_way == 3 and input_shape[0] == 1 else found

    def sample(self, generator):
        raise RuntimeError("red \\x1b[31m text")
"""

STRATEGY = """
import os, sys, time
from hnas import SearchStrategy
from hnas_strategies.random_search import RandomSearch, RandomSearchOptions

class Mine(RandomSearch):
    Options = RandomSearchOptions

    def ask(self):
        {action}
        return super().ask()
"""


@pytest.fixture
def strategy(tmp_path: Path) -> Any:
    """Return a function that writes a strategy which does something else first, and names its class."""

    def write(action: str) -> str:
        path = tmp_path / f"{tmp_path.name}_strategy.py"
        path.write_text(STRATEGY.format(action=action))
        return f"{path}:Mine"

    return write


def test_a_space_that_fails_its_tests_does_not_pass(tmp_path, capsys):
    """Each failed test is a finding; what it says steers no terminal."""
    (tmp_path / "strange_space.py").write_text(SPACE)
    name = f"{tmp_path / 'strange_space.py'}:Strange"
    assert run(["plugins", "check", name, "--quick"]) == 4  # its samples raise
    assert "conformance" not in capsys.readouterr().out
    assert run(["plugins", "check", name]) == 4
    told = capsys.readouterr()
    assert told.out.startswith("FAILED: space ")
    assert told.out.count("  failed   conformance: test_") >= 3
    assert "conformance: test_references_are_members: expected the reference network 'mine'" in told.out
    assert "\n           what to do: " in told.out
    assert "\\x1b[31m text" in told.out
    assert "\x1b" not in told.out
    assert "1 of 1 checked plugins failed" in told.err


def test_a_plugin_that_ends_the_process_is_told_with_its_test(strategy, capsys):
    reference = strategy("sys.stderr.write('bye\\n'); os._exit(0)")
    assert run(["plugins", "check", reference, "--json"]) == 4
    (result,) = json.loads(capsys.readouterr().out)
    found = {f["told"] for f in result["findings"] if f["level"] == "failed"}
    assert not result["passed"]
    assert any(
        told.startswith("test_") and told.endswith(": the process ended with status 0; its last line: bye")
        for told in found
    )
    assert "were not reached" in result["findings"][-1]["told"]


@pytest.mark.slow
def test_a_plugin_that_never_ends_is_told_with_its_test(strategy):
    """The process is killed; the limit counts for each test, and for what comes before."""
    reference = strategy("time.sleep(999)")
    findings = Conformance(timeout_s=12).run(Registry().get("strategy", reference))
    failed = [f.told for f in findings if f.level == "failed"]
    assert len(failed) == 1
    assert failed[0].startswith("test_")
    assert failed[0].endswith(": did not end within 12 s (--timeout sets the limit)")


def test_options_can_be_set_for_the_tests(strategy, capsys):
    """A mistake in them is the user's, not the plugin's."""
    reference = strategy("pass")
    assert run(["plugins", "check", reference, "--set", "strategy.populatoin=8"]) == 3
    assert "did you mean 'strategy.population'" in capsys.readouterr().err
    sets = [["strategy.population", "10"], ["strategy.iterations", "5"], ["strategy.population", "3"]]
    told = {"kind": "strategy", "name": reference, "sets": sets, "measure": False, "third_party": False}
    assert prepared(told)[0]().make().iterations == 5


def test_without_pytest_the_command_says_how_to_get_it(monkeypatch, capsys):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert run(["plugins", "check", "vgg9"]) == 4
    assert "pip install 'pytest>=8'" in capsys.readouterr().err
    assert run(["plugins", "check", "vgg9", "--quick"]) == 0


@pytest.mark.parametrize(
    ("kind", "name", "why"),
    [
        ("backend", "x86", "is a real device"),
        ("backend", "arm", "which device"),
        ("backend", "table", "no file is given"),
        ("tasks", "folder", "root"),
    ],
)
def test_what_cannot_be_tested_here_says_why(kind, name, why):
    """It is a warning of the command, not a passed test."""
    told = {"kind": kind, "name": name, "sets": [], "measure": False, "third_party": False}
    with pytest.raises(NotTried, match=why):
        prepared(told)


def test_real_devices_are_measured_when_they_are_asked_for():
    told = {"kind": "backend", "name": "x86", "sets": [], "measure": True, "third_party": False}
    assert issubclass(prepared(told)[0], object)


def test_a_space_is_tested_with_images_that_it_takes():
    """The residual space halves maps four times; the tests of every kind know their sizes."""
    for name, how in (("vgg9", "images of 1x10x10"), ("resnet12", "images of ")):
        told = {"kind": "space", "name": name, "sets": [], "measure": False, "third_party": False}
        assert prepared(told)[1].startswith(how)
