"""`hnas profile`: every distinct layer of a space, measured once and kept."""

from __future__ import annotations

import json
import sys

import pytest

from hnas_app.cli import run
from hnas_app.config.presets import PRESETS
from hnas_app.costs.amounts import count


@pytest.fixture(autouse=True)
def own_home(tmp_path, monkeypatch):
    monkeypatch.setenv("HNAS_HOME", str(tmp_path / "home"))


def test_json_lists_every_distinct_layer_with_its_costs(capsys):
    """462 convolutions of VGG9 (activation apart), and the linear layers, on 28×28 images."""
    command = ["profile", "--space", "vgg9", "--backend", "eyeriss", "--input", "1x28x28", "--json"]
    assert run(command) == 0
    first = json.loads(capsys.readouterr().out)
    assert sum(r["layer"]["op"] == "conv2d" for r in first["layers"]) == 462
    assert {r["layer"]["op"] for r in first["layers"]} == {"conv2d", "linear"}
    assert len({r["key"] for r in first["layers"]}) == len(first["layers"])
    row = first["layers"][0]
    assert row["cycles"] > 0
    assert row["latency_ms"] == pytest.approx(row["cycles"] / 200e6 * 1e3)
    assert run(command) == 0
    again = capsys.readouterr()
    assert json.loads(again.out)["layers"] == first["layers"]
    assert "reused 469" in again.err


def test_without_an_input_the_images_are_those_of_the_tasks(capsys):
    """`glyphs` are 1×28×28; a preset's width applies only where it is asked for."""
    assert run(["profile", "--preset", "quick", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    firsts = [r["layer"] for r in found["layers"] if r["layer"]["op"] == "conv2d" and r["layer"]["in_shape"][0] == 1]
    assert {tuple(layer["in_shape"]) for layer in firsts} == {(1, 28, 28)}
    widest = 2.25 * PRESETS["quick"]["space"]["base_width"]
    assert max(layer["out_shape"][0] for layer in firsts) == widest


def test_text_ends_with_the_next_command(capsys):
    assert run(["profile", "--input", "1x8x8", "--n-way", "2"]) == 0
    told = capsys.readouterr()
    assert "LATENCY_MS" in told.out
    assert told.err.splitlines()[-1].startswith(
        "next: hnas profile --space vgg9 --backend eyeriss --preset quick, since"
    )
    assert run(["profile", "--input", "1x8x8", "--n-way", "2", "--preset", "quick"]) == 0
    assert capsys.readouterr().err.splitlines()[-1] == "next: hnas run --space vgg9 --backend eyeriss --preset quick"


def test_text_begins_with_what_costs_most_and_tells_what_networks_cost(capsys, monkeypatch):
    """700 rows from A to Z, each with 17 digits, and nothing to choose a limit by."""
    command = ["profile", "--input", "1x8x8", "--n-way", "2"]
    assert run([*command, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    layers = sorted(found["layers"], key=lambda r: -r["latency_ms"])
    assert run(command) == 0
    piped = capsys.readouterr().out.splitlines()
    head, *rows = piped[: 1 + len(layers)]
    assert head.split()[:2] == ["LAYER", "LATENCY_MS"]
    shown = [row.split() for row in rows]
    assert sorted(r[0] for r in shown) == sorted(r["key"] for r in layers)
    assert [r[1] for r in shown] == [f"{r['latency_ms']:.4g}" for r in layers]
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    assert run(command) == 0
    terminal = capsys.readouterr().out.splitlines()
    assert terminal[:21] == piped[:21]
    assert terminal[21] == f"… and {len(layers) - 20} more; --json has all"
    assert terminal[22:] == piped[1 + len(layers) :]
    network = next(line.split() for line in terminal if line.startswith("maml++ "))
    costs = found["references"]["maml++"]
    assert network == ["maml++", *(count(v) if isinstance(v, int) else f"{v:.4g}" for v in costs.values())]
    assert list(costs) == ["latency_ms", "cycles", "params", "macs"]


def test_a_backend_in_user_code_is_profiled(capsys, tmp_path, monkeypatch):
    (tmp_path / "my_cli_board.py").write_text(
        "from attrs import frozen\nfrom hnas import DeviceInfo, HardwareBackend, Measurement, Metric\n\n\n"
        "class MyBoard(HardwareBackend):\n"
        "    @frozen\n    class Options:\n        factor: float = 1.0\n\n"
        "    def __init__(self, options):\n        self.options = options\n\n"
        "    def describe(self):\n"
        "        return DeviceInfo(backend='mine', device='board', runtime='1', metrics=(Metric(name='ticks'),),\n"
        "            settings={'factor': self.options.factor}, ops=frozenset({'linear'}))\n\n"
        "    def measure(self, layers):\n"
        "        return ({'ticks': Measurement(median=layer.macs * self.options.factor)} for layer in layers)\n"
    )
    monkeypatch.chdir(tmp_path)
    command = ["profile", "--backend", "./my_cli_board.py:MyBoard", "--input", "1x8x8", "--set", "backend.factor=2"]
    assert run([*command, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)["layers"]
    assert {r["layer"]["op"] for r in found} == {"linear"}
    assert all(r["ticks"] == 2 * r["layer"]["in_shape"][0] * r["layer"]["out_shape"][0] for r in found)
