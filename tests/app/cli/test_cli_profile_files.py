"""Taking a table elsewhere, proving it, calibrating it: `hnas profile export|import`, `--verify`, `--dry-run`."""

import json
import os
import subprocess
import sys

import pytest

from hnas_app.cli import run

BOARD = """
import time
from attrs import frozen
from hnas import DeviceInfo, HardwareBackend, Measurement, Metric, Rounds

class Board(HardwareBackend):
    @frozen
    class Options:
        overhead: float = 0.0
        device: str = "first"

    def __init__(self, options):
        self.options = options

    def describe(self):
        return DeviceInfo(backend="board", device=f"board {self.options.device}", runtime="1",
            metrics=(Metric(name="latency", unit="ms"),), ops=frozenset({"conv2d", "linear"}),
            settings={"device": self.options.device}, rounds=Rounds(count=2, layer_s=0.25, cooling_s=0))

    def measure(self, layers):
        return ({"latency": Measurement.of([la.macs * 1e-6] * 3, "ms")} for la in layers)

    def measure_network(self, layers):
        total = sum(la.macs * 1e-6 for la in layers)
        return {"latency": Measurement.of([1.1 * total + self.options.overhead], "ms")}
"""
SMALL = ("--input", "1x8x8", "--n-way", "2")


@pytest.fixture(scope="module")
def board(tmp_path_factory):
    """One file for all tests: a process imports a module of one name once."""
    path = tmp_path_factory.mktemp("boards") / "a_board.py"
    path.write_text(BOARD)
    return f"{path}:Board"


@pytest.fixture(autouse=True)
def own_home(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HNAS_HOME", str(tmp_path / "home"))


def ran(capsys, *command, code=0):
    assert run(list(command)) == code, capsys.readouterr().err
    return capsys.readouterr()


def test_a_table_goes_to_a_machine_that_has_not_the_device(capsys, board, tmp_path, monkeypatch):
    """An air-gapped board's table cannot be used where the search runs, or changes on the way."""
    own = json.loads(ran(capsys, "profile", "--backend", board, *SMALL, "--json").out)
    ran(capsys, "profile", "export", "board.json", "--backend", board)
    monkeypatch.setenv("HNAS_HOME", str(tmp_path / "elsewhere"))
    there = json.loads(ran(capsys, "profile", "--backend", "table:board.json", *SMALL, "--json").out)
    assert there["layers"] == own["layers"]
    assert there["device"] == own["device"]
    assert there["fingerprint"] != own["fingerprint"], "rows of a file and of the device itself are not mixed"


def test_an_imported_table_is_not_measured_again(capsys, board, tmp_path, monkeypatch):
    """A shared file is read, and the device measured all the same; or an own row is overwritten."""
    ran(capsys, "profile", "--backend", board, *SMALL)
    ran(capsys, "profile", "export", "board.json", "--backend", board)
    monkeypatch.setenv("HNAS_HOME", str(tmp_path / "elsewhere"))
    assert ", 0 are" not in ran(capsys, "profile", "--dry-run", "--backend", board, *SMALL).out
    assert "rows of board first are new" in ran(capsys, "profile", "import", "board.json").out
    plan = json.loads(ran(capsys, "profile", "--dry-run", "--json", "--backend", board, *SMALL).out)
    assert (plan["missing_rows"], plan["known_rows"]) == (0, 2 * plan["layers"])
    assert ran(capsys, "profile", "import", "board.json").out.startswith("0 of ")


def test_an_edited_model_is_measured_anew(capsys, tmp_path):
    """The old formulas' rows are printed as those of the new ones, with exit code 0."""
    path = tmp_path / "petrel.py"

    def first_row(source):
        path.write_text(source)
        command = ["profile", "--backend", "./petrel.py:Board", *SMALL, "--json"]
        done = subprocess.run(
            [sys.executable, "-m", "hnas", *command],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=True,
            env=os.environ | {"PYTHONDONTWRITEBYTECODE": "1"},  # both edits may be of one second
        )
        return json.loads(done.stdout)["layers"][0]["latency_ms"], done.stderr

    before, _ = first_row(BOARD)
    after, told = first_row(BOARD.replace("la.macs * 1e-6] * 3", "la.macs * 2e-6] * 3"))
    assert after == pytest.approx(2 * before)
    assert "reused 0" in told
    assert first_row(BOARD)[0] == before


def test_fresh_measures_all_again(capsys, board):
    """Whoever changed an installed model has no way to be rid of its rows."""
    command = ["profile", "--backend", board, *SMALL]
    ran(capsys, *command)
    assert "measured 0" in ran(capsys, *command).err
    plan = json.loads(ran(capsys, *command, "--fresh", "--dry-run", "--json").out)
    assert plan["known_rows"] == 0
    assert "reused 0" in ran(capsys, *command, "--fresh").err
    assert "measured 0" in ran(capsys, *command).err
    both = [*command, "--backend", "eyeriss"]
    ran(capsys, *both)
    assert ran(capsys, *both, "--fresh").err.count("reused 0") == 2


def test_export_overwrites_nothing(capsys, board, tmp_path):
    """A user's file is lost."""
    ran(capsys, "profile", "--backend", board, *SMALL)
    (tmp_path / "notes.json").write_text("mine")
    assert "left alone" in ran(capsys, "profile", "export", "notes.json", "--backend", board, code=3).err
    assert (tmp_path / "notes.json").read_text() == "mine"


def test_nothing_known_is_nothing_to_export(capsys, board, tmp_path):
    """An empty file is written, and fails where it is used."""
    told = ran(capsys, "profile", "export", "board.json", "--backend", board, code=6).err
    assert "no rows are stored for board first" in told
    assert not (tmp_path / "board.json").exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: d.update(format="other"), "holds no measurements"),
        (lambda d: d.update(schema=99), "has schema 99; this hnas reads 1"),
        (lambda d: d["info"].update(runtime="2"), "does not match its device"),
        (lambda d: next(iter(next(iter(d["rows"].values())).values()))["latency"].update(median=-1), "not negative"),
        (lambda d: d.pop("rows"), "required field missing @ $.rows"),
    ],
)
def test_a_wrong_file_is_refused_and_nothing_of_it_kept(capsys, board, tmp_path, change, message):
    """Half of a damaged file, or a negative latency, gets into the cost store."""
    ran(capsys, "profile", "--backend", board, *SMALL)
    ran(capsys, "profile", "export", "board.json", "--backend", board)
    content = json.loads((tmp_path / "board.json").read_text())
    del content["checksum"]
    change(content)
    (tmp_path / "wrong.json").write_text(json.dumps(content))
    assert message in ran(capsys, "profile", "import", "wrong.json", code=3).err
    assert message in ran(capsys, "profile", "--backend", "table:wrong.json", *SMALL, code=3).err


def test_an_exported_file_with_another_digit_is_refused(capsys, board, tmp_path):
    """One that was damaged on its way; who edits it on purpose can say so."""
    ran(capsys, "profile", "--backend", board, *SMALL)
    ran(capsys, "profile", "export", "board.json", "--backend", board)
    content = json.loads((tmp_path / "board.json").read_text())
    next(iter(next(iter(content["rows"].values())).values()))["latency"]["median"] += 1
    (tmp_path / "wrong.json").write_text(json.dumps(content))
    for command in (("import", "wrong.json"), ("--backend", "table:wrong.json", *SMALL)):
        told = ran(capsys, "profile", *command, code=3).err
        assert "wrong.json is damaged or was edited: its checksum does not hold" in told
        assert "if you edited it yourself, delete its checksum" in told


def test_a_file_of_other_layers_is_refused_by_layer(capsys, board):
    """A search on a table of another image size ends in a traceback, or with made-up costs."""
    ran(capsys, "profile", "--backend", board, *SMALL)
    ran(capsys, "profile", "export", "board.json", "--backend", board)
    told = ran(capsys, "profile", "--backend", "table:board.json", "--input", "3x8x8", code=6).err
    assert "board.json has no measurement of the layer conv2d-3x8x8" in told


def test_verify_says_how_far_sums_are_from_networks(capsys, board):
    """The proof of a table is not shown, or is not in the JSON."""
    told = ran(capsys, "profile", "--backend", board, *SMALL, "--verify", "6").out
    assert "against 6 whole networks (latency_ms): mean error 9.1 %, Kendall tau 1.000" in told
    assert "each the median of 2 rounds, which differ by 0.0 % typically; 0 blocks were repeated" in told
    found = json.loads(ran(capsys, "profile", "--backend", board, *SMALL, "--verify", "6", "--json").out)
    assert found["check"]["verified"]["ratio"] == pytest.approx(1.1)


def test_calibrating_is_kept_and_used(capsys, board):
    """`hnas devices calibrate` fits a line that no search ever sees."""
    small = ("--input", "1x8x8")
    line = json.loads(ran(capsys, "devices", "calibrate", board, *small, "--networks", "12", "--json").out)
    assert line["kept"]
    assert line["slope"] == pytest.approx(1.1)
    found = json.loads(ran(capsys, "profile", "--backend", board, *small, "--verify", "12", "--json").out)
    assert found["check"]["verified"]["calibrated"]["mape"] == pytest.approx(0, abs=1e-6)
    assert found["calibration"] == {"latency": [pytest.approx(1.1), pytest.approx(0, abs=1e-9)]}


def test_a_device_is_named_behind_the_backend_or_by_its_flag(capsys, board):
    """`--backend arm:pi4` measures another device than `--backend arm --device pi4`."""
    command = ("profile", "--backend", board, "--device", "second", *SMALL, "--dry-run", "--json")
    one = json.loads(ran(capsys, *command).out)
    assert one["device"] == "board second"


def test_a_backend_without_devices_refuses_one(capsys):
    """A device that is asked for is ignored, and another measured in its place."""
    told = ran(capsys, "profile", "--backend", "eyeriss:pi4", *SMALL, code=3).err
    assert "'eyeriss' has no devices to choose from, got 'pi4'" in told
    assert "backend.device" in ran(capsys, "profile", "--device", "pi4", *SMALL, code=3).err


def test_a_table_without_a_file_says_what_is_missing(capsys):
    assert "table:FILE" in ran(capsys, "profile", "--backend", "table", *SMALL, code=3).err
    assert "after 'table:'" in ran(capsys, "profile", "--backend", "table:", *SMALL, code=3).err
    told = ran(capsys, "profile", "--backend", "table:nowhere.json", *SMALL, code=3).err
    assert "no file nowhere.json" in told
    assert "hnas profile export nowhere.json" in told
