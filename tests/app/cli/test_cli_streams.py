"""What commands print fits any encoding, steers no terminal, can be pasted into a shell; --json prints JSON only."""

from __future__ import annotations

import io
import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hnas.errors import shown
from hnas_app.cli import output, run
from hnas_app.cli.streams import fit_streams

STEERING = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff\ud800-\udfff]")
HOSTILE = "\x1b[31mred\x9b2J\u202eevil\udcff\r±"
FILE_NAMES = st.text(st.characters(exclude_characters="/\x00", exclude_categories=["Cs"]), min_size=1, max_size=20)
TEXTS = st.one_of(st.text(max_size=30), st.sampled_from([HOSTILE, "\x1b]0;title\x07", "\u2066a\u2069"]))


class Captured:
    """Standard output and error of an encoding, as of a pipe."""

    def __init__(self, encoding: str) -> None:
        self.encoding = encoding
        self.out, self.err = (io.TextIOWrapper(io.BytesIO(), encoding=encoding, newline="") for _ in range(2))

    def run(self, *command: str) -> int:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(sys, "stdout", self.out)
            patch.setattr(sys, "stderr", self.err)
            return run(command)

    def texts(self) -> list[str]:
        for stream in (self.out, self.err):
            stream.flush()
        return [stream.buffer.getvalue().decode(self.encoding) for stream in (self.out, self.err)]  # type: ignore[attr-defined]


def commands(text: str, folder: Path) -> list[list[str]]:
    """Return commands that print a user's text, or that of a file, whether they succeed or not."""
    return [
        ["spaces", "show", text],
        ["plugins", "show", text],
        ["plugins", "check", text, "--json"],
        ["config", "show", "--set", f"tasks.root={text}"],
        ["config", "show", "--set", f"space.{text}=1"],
        ["config", "check", str(folder / "hostile.toml")],
        ["devices", "list"],
        ["devices", "list", "--json"],
        ["devices", "check", text],
        ["runs", str(folder)],
        ["data", "check", "folder", "--data-root", str(folder)],
        [text],
    ]


@settings(max_examples=6, deadline=None)
@given(text=TEXTS, name=FILE_NAMES, encoding=st.sampled_from(["utf-8", "ascii", "cp1252"]))
def test_nothing_that_is_printed_steers_a_terminal(
    text: str, name: str, encoding: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Names of folders, keys of files, boards, arguments: each command ends with a code, not in an encoder."""
    folder = tmp_path_factory.mktemp("hostile")
    if name not in (".", "..") and len(name.encode()) < 200:
        for parent in ("", "train", "val", "test"):
            (folder / parent / name).mkdir(parents=True, exist_ok=True)
        (folder / name / "run.json").write_text("{")
    (folder / "hostile.toml").write_text(f"[space]\n{json.dumps(shown(text))} = 1\n")
    book = {"schema": 1, "devices": {"pi": {"backend": text, "settings": {"address": text}}}}
    (folder / "devices.json").write_text(json.dumps(book))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HNAS_HOME", str(folder))
        for command in commands(text, folder):
            streams = Captured(encoding)
            code = streams.run(*command)
            out, err = streams.texts()
            assert not STEERING.search(out + err), command
            assert "unexpected" not in err, err
            if "--json" in command and code == 0:
                json.loads(out)


@pytest.mark.parametrize(
    ("encoding", "expected"),
    [
        ("utf-8", "50.0 ± 1.0 % …"),
        ("ascii", "50.0 +- 1.0 % ..."),
        ("cp1252", "50.0 ± 1.0 % …"),
        ("cp437", "50.0 +- 1.0 % ..."),
    ],
)
def test_a_result_is_printed_in_any_encoding(encoding: str, expected: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """``±`` ended a finished run with UnicodeEncodeError, where the log of a batch job was ASCII."""
    out = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
    monkeypatch.setattr(sys, "stdout", out)
    with fit_streams(only_json=False):
        output.print_table(("found", "\x1b"), [("50.0 ± 1.0 % …", "café\tA\nB")])
        output.print_json({"name": HOSTILE})
    out.flush()
    printed = out.buffer.getvalue().decode(encoding)  # type: ignore[attr-defined]
    assert printed.startswith("found")
    assert expected in printed
    assert r"A\nB" in printed
    assert json.loads(printed[printed.index("{") :]) == {"name": HOSTILE}


def test_notes_to_a_terminal_that_is_gone_are_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    """After SIGHUP the exit code must still be that of an interruption."""
    reader, writer = os.pipe()
    os.close(reader)
    with open(writer, "w", buffering=1) as gone:
        monkeypatch.setattr(sys, "stderr", gone)
        with fit_streams(only_json=False):
            output.note("nobody reads this")
            sys.stderr.flush()
        monkeypatch.undo()
        os.dup2(os.open(os.devnull, os.O_WRONLY), writer)


NOISY = """
import ctypes, os, subprocess, sys
from hnas import DeviceInfo, HardwareBackend, Measurement, Metric

print("at import")

class Noisy(HardwareBackend):
    def describe(self):
        ctypes.CDLL(None).puts(b"from C")
        subprocess.run(["echo", "from a child"])
        os.write(1, b"raw")
        return DeviceInfo(backend="noisy", device="b", runtime="1", metrics=(Metric(name="latency", unit="ms"),))

    def measure(self, layers):
        for layer in layers:
            if os.environ.get("FAULT") == "measure":
                sys.exit(0)
            yield {"latency": Measurement(median=1.0, unit="ms")}

    def close(self):
        if os.environ.get("FAULT") == "close":
            raise RuntimeError("the cable is gone")
        if os.environ.get("FAULT") == "exit":
            sys.exit(0)
"""


def test_json_is_all_that_standard_output_gets(tmp_path: Path) -> None:
    """Not what a plugin prints, nor its C code and child processes."""
    (tmp_path / "board.py").write_text(NOISY)
    command = [sys.executable, "-m", "hnas", "profile", "--backend", "./board.py:Noisy", "--input", "1x8x8", "--json"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env=os.environ | {"FAULT": "close"})
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["device"] == "b"
    for text in ("at import", "from C", "from a child", "raw"):
        assert text in done.stderr
    assert "note: the backend Noisy failed in close(): RuntimeError: the cable is gone" in done.stderr


@pytest.mark.parametrize(
    ("fault", "code", "told"),
    [
        ("measure", 4, "error: backend board_measure:Noisy, in measure(), tried to end the program: SystemExit: 0\n"),
        ("exit", 0, "note: the backend Noisy failed in close(): SystemExit: 0\n"),
    ],
)
def test_a_plugin_that_ends_the_program_is_an_error(
    fault: str,
    code: int,
    told: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """With ``sys.exit(0)`` the command printed nothing, and succeeded."""
    (tmp_path / f"board_{fault}.py").write_text(NOISY)
    monkeypatch.setenv("FAULT", fault)
    assert run(["profile", "--backend", f"{tmp_path}/board_{fault}.py:Noisy", "--input", "1x8x8", "--fresh"]) == code
    assert told in capsys.readouterr().err


@pytest.mark.parametrize("statement", ["sys.exit(0)", "raise GeneratorExit", "raise type('Own', (BaseException,), {})"])
def test_a_file_that_ends_the_program_is_an_error(
    statement: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    name = f"ends_{len(statement)}"
    (tmp_path / f"{name}.py").write_text(f"import sys\n{statement}\n")
    assert run(["profile", "--backend", f"{tmp_path}/{name}.py:Board"]) == 4
    told = capsys.readouterr().err
    assert told.startswith("error: ")
    assert name in told


def test_an_end_of_file_is_no_interruption(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """typer takes EOFError, as of a file cut short, for Ctrl-D."""

    def cut_short(*_: object, **__: object) -> None:
        raise EOFError("of a file")

    monkeypatch.setattr("hnas_app.runs.run_list.list_runs", cut_short)
    assert run(["runs"]) == 1
    assert "error: unexpected EOFError: of a file" in capsys.readouterr().err


@pytest.mark.parametrize("command", [["config", "init"], ["config", "check"]])
def test_the_next_command_can_be_pasted(command: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "my $HOME; runs" / "it's.toml"
    path.parent.mkdir()
    path.write_text("")
    assert run([*command, str(path), *(["--force"] if "init" in command else [])]) == 0
    told = capsys.readouterr().err
    assert shlex.split(told.partition("next: ")[2])[-1] == str(path)


@pytest.mark.parametrize("mark", [b"\xef\xbb\xbf", b""])
def test_a_file_may_begin_with_the_mark_of_windows(
    mark: bytes, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "a.toml").write_bytes(mark + b"[task]\r\nn_way = 1\r\n")
    assert run(["config", "check", str(tmp_path / "a.toml")]) == 3
    assert "line 2: task.n_way: must be >= 2" in capsys.readouterr().err
    (tmp_path / "a.toml").write_text("seed = 1", encoding="utf-16")
    assert run(["config", "check", str(tmp_path / "a.toml")]) == 3
    assert "it is UTF-16, as PowerShell writes\nhint: save it as UTF-8" in capsys.readouterr().err
    (tmp_path / "table.json").write_bytes(mark + b'{"schema": 0}')
    assert run(["profile", "import", str(tmp_path / "table.json")]) == 3
    assert "not JSON" not in capsys.readouterr().err


@pytest.mark.parametrize("option", ["--data-root", "--set=tasks.root"])
def test_a_path_that_no_configuration_can_hold_is_named(option: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A run's config.toml is UTF-8: the run would have ended in an encoder."""
    assert run(["config", "show", "--tasks", "folder", f"{option}=/data/\udcff"]) == 3
    assert option.removeprefix("--set=") in (told := capsys.readouterr().err)
    assert r"got '/data/\udcff': rename the file or folder" in told
