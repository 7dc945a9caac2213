"""The rules of the plugin layer, each with a distribution that pip built and installed into a venv of its own."""

from __future__ import annotations

import json

import pytest

from hnas import Layer
from hnas.discovery import API

PYPROJECT = """
[build-system]
requires = ["hatchling"]
build-backend = "hatchling.build"

[project]
name = "{name}"
version = "{version}"

[project.entry-points.hnas]
{entry_point} = "{module}"

[tool.hatch.build.targets.wheel]
only-include = ["{module}.py"]
"""
BOARD = """
from attrs import frozen
from hnas import DeviceInfo, HardwareBackend, Measurement, Metric, Plugin, hookimpl
from hnas.settings import positive, setting


@frozen(kw_only=True)
class Options:
    speed: float = setting(1.0, "multiply-accumulates a millisecond", positive)


class Board(HardwareBackend):
    def __init__(self, options):
        self.speed = options.speed

    def describe(self):
        metrics = (Metric(name="latency", unit="ms"),)
        return DeviceInfo(backend=NAME, device="b", runtime="1", metrics=metrics, settings={"speed": self.speed})

    def measure(self, layers):
        for layer in layers:
            yield {"latency": Measurement(median=layer.macs / self.speed, unit="ms")}


def board(name, **more):
    return Plugin(name=name, summary="a board", factory=Board, options=Options, **more)


@hookimpl
def hnas_backends():
    return [board(NAME)]
"""
GOOD = "NAME = 'board'" + BOARD.replace("board(NAME)", "board(NAME, requires=('attrs>=20',))")
SOURCES = {
    ("hnas-backend-good", "2.1"): GOOD,
    # Its other plugin has the name of a built-in one.
    ("hnas-backend-twin", "1.0"): "NAME = 'board'" + BOARD.replace("[board(NAME)]", "[board(NAME), board('eyeriss')]"),
    ("hnas-backend-broken", "0.3"): "raise OSError('no cable')",
    ("hnas-backend-new", "4.0"): "NAME = 'future'" + BOARD.replace("board(NAME)", f"board(NAME, api={API + 1})"),
    ("hnas-backend-typo", "1.1"): "NAME = 'typo'" + BOARD.replace("def hnas_backends", "def hnas_backend"),
    ("heavy-board", "1.2"): "import torch\nNAME = 'heavy'" + BOARD,
}
LEFT_OUT = {
    "broken": ("hnas-backend-broken", "0.3", "OSError: no cable"),
    "new": ("hnas-backend-new", "4.0", f"needs plugin api {API + 1}; hnas "),
    "typo": ("hnas-backend-typo", "1.1", "unknown hook 'hnas_backend'. Did you mean 'hnas_backends'"),
}


@pytest.fixture(scope="session")
def venv(make_venv, tmp_path_factory):
    """An environment in which all of these are installed."""
    root = tmp_path_factory.mktemp("distributions")
    for (name, version), source in SOURCES.items():
        module = name.replace("-", "_")
        entry_point = name.rpartition("-")[2]
        (root / name).mkdir()
        (root / name / f"{module}.py").write_text(source)
        told = PYPROJECT.format(name=name, version=version, module=module, entry_point=entry_point)
        (root / name / "pyproject.toml").write_text(told)
    return make_venv(*sorted(root.iterdir()))


@pytest.fixture
def hnas(venv, tmp_path, monkeypatch):
    """Run the command line there; the plugin that imports torch is disabled, since it makes every command slow."""

    def run(*words: str, disable: str = "heavy-board", **env: str):
        return venv.hnas(*words, cwd=tmp_path, HNAS_DISABLE_PLUGINS=disable, **env)

    return run


def test_plugins_that_work_are_listed_and_each_that_fails_is_told_once(hnas):
    done = hnas("plugins", "list", "--json")
    assert done.returncode == 0, done.stderr
    third = {r["use"]: r for r in json.loads(done.stdout) if r["distribution"] != "hnas"}
    assert list(third) == ["board@hnas-backend-good", "board@hnas-backend-twin", "eyeriss@hnas-backend-twin"]
    assert third["board@hnas-backend-good"]["version"] == "2.1"
    told = done.stderr.splitlines()
    assert len(told) == len(LEFT_OUT)
    for distribution, version, cause in LEFT_OUT.values():
        (line,) = (t for t in told if distribution in t)
        assert f"of {distribution} {version} was left out: " in line
        assert cause in line


def test_what_failed_is_listed_with_its_cause(hnas):
    done = hnas("plugins", "list", "--failed", "--json")
    assert done.returncode == 0
    failed = {f["entry_point"]: f for f in json.loads(done.stdout)}
    assert set(failed) == set(LEFT_OUT)
    for name, (distribution, version, cause) in LEFT_OUT.items():
        assert (failed[name]["distribution"], failed[name]["version"]) == (distribution, version)
        assert cause in failed[name]["cause"]
    assert done.stderr == "", "what a command lists it does not tell beside it"


def test_two_plugins_of_one_name_are_an_error_at_use_and_one_can_be_picked(hnas):
    command = ("profile", "--input", "1x8x8", "--json", "--backend")
    done = hnas(*command, "board")
    assert done.returncode == 4
    assert "backend 'board' is provided by hnas-backend-good and hnas-backend-twin" in done.stderr
    assert "as in 'board@hnas-backend-good'" in done.stderr
    done = hnas(*command, "board@hnas-backend-twin", "--set", "backend.speed=1e6")
    assert done.returncode == 0, done.stderr
    rows = json.loads(done.stdout)["layers"]
    assert [r["latency_ms"] for r in rows] == [Layer(**r["layer"]).macs / 1e6 for r in rows]
    assert any(r["latency_ms"] > 0 for r in rows)


def test_a_built_in_name_loads_no_third_party_code_and_is_not_taken_over(hnas):
    done = hnas("config", "show", "--backend", "eyeriss")
    assert done.returncode == 0
    assert done.stderr.count("was left out") == 0
    assert "engine" in done.stdout, "an option of the built-in one"


def test_a_plugin_that_is_too_new_is_refused_with_what_to_install(hnas):
    done = hnas("config", "show", "--backend", "future")
    assert done.returncode == 4
    assert f"backend 'future' of hnas-backend-new 4.0 needs plugin api {API + 1}; hnas " in done.stderr
    assert "hint: upgrade it: pip install --upgrade hnas" in done.stderr


def test_an_unknown_name_lists_what_there_is_and_what_failed(hnas):
    done = hnas("config", "show", "--backend", "bord")
    assert done.returncode == 4
    for part in ("unknown backend 'bord'. Did you mean 'board'?", "eyeriss", "hnas-backend-broken 0.3 failed to load"):
        assert part in done.stderr
    assert "HNAS_DISABLE_PLUGINS leaves out heavy-board" in done.stderr


def test_strict_mode_stops_at_the_first_that_fails(hnas):
    done = hnas("plugins", "list", HNAS_STRICT_PLUGINS="1")
    assert done.returncode == 4
    assert done.stdout == ""
    assert "error: plugin 'broken' of hnas-backend-broken 0.3 failed to load: OSError: no cable" in done.stderr


def test_disabling_by_distribution_entry_point_and_plugin_name(hnas):
    """With the strict mode as witness that what is disabled is not even imported."""
    disable = "heavy-board, hnas_backend_broken,typo,future,new"
    done = hnas("plugins", "list", "--json", disable=disable, HNAS_STRICT_PLUGINS="1")
    assert done.returncode == 0, done.stderr
    assert {r["distribution"] for r in json.loads(done.stdout)} == {"hnas", "hnas-backend-good", "hnas-backend-twin"}
    done = hnas("plugins", "list", "--json", disable=f"{disable},board", HNAS_STRICT_PLUGINS="1")
    assert [r["name"] for r in json.loads(done.stdout) if r["distribution"] != "hnas"] == ["eyeriss"]


def test_no_plugins_leaves_built_in_ones_only(hnas):
    done = hnas("--no-plugins", "plugins", "list", "--json", HNAS_STRICT_PLUGINS="1")
    assert done.returncode == 0, done.stderr
    assert {r["distribution"] for r in json.loads(done.stdout)} == {"hnas"}


def test_a_good_plugin_is_shown_and_passes_the_check(hnas):
    (shown,) = json.loads(hnas("plugins", "show", "board@hnas-backend-good", "--json").stdout)
    assert shown["requires"] == ["attrs>=20"]
    assert [o["name"] for o in shown["options"]] == ["speed"]
    done = hnas("plugins", "check", "hnas-backend-good")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("passed: backend board of hnas-backend-good 2.1\n")
    assert "hnas-backend-twin 1.0 has a backend of that name, too" in done.stdout
    assert "attrs>=20 is there" in done.stdout
    assert done.stderr == "next: hnas run --backend board@hnas-backend-good\n"


def test_checking_all_fails_for_those_left_out_and_warns_of_torch_at_the_top(hnas):
    done = hnas("plugins", "check", "--quick", "--json", disable="")
    assert done.returncode == 4
    assert "3 of 7 checked plugins failed: broken of hnas-backend-broken" in done.stderr
    results = {(r["distribution"], r["name"]): r for r in json.loads(done.stdout)}
    for name, (distribution, _, cause) in LEFT_OUT.items():
        result = results[distribution, name]
        assert not result["passed"]
        assert cause in result["findings"][0]["told"]
    heavy = results["heavy-board", "heavy"]
    assert heavy["passed"], "slow is not wrong"
    told = {(f["level"], f["check"]): f["told"] for f in heavy["findings"]}
    assert "heavy_board imports torch at the top" in told["warning", "import"]
    assert "distributions of this kind are called hnas-backend-*" in told["hint", "name"]
    assert not [
        f for f in results["hnas-backend-good", "board"]["findings"] if f["check"] == "import" and f["level"] != "ok"
    ]
