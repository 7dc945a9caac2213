"""How commands fail: one clean message with a hint, the right exit code, no traceback unless asked for."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from hnas_app.cli import run

PROBE = """
import os, signal, sys, time
from hnas_app.cli import app, run
from hnas_app.cli.invocation import invocation
import typer

@app.command()
def probe(ctx: typer.Context, how: str):
    invocation(ctx).resume = "hnas run --run-dir runs/x"
    if how == "wait":
        print("waiting", flush=True)
        time.sleep(60)
    raise ZeroDivisionError("of the probe")

sys.exit(run(sys.argv[1:]))
"""


@pytest.mark.parametrize(
    ("command", "code", "parts"),
    [
        ("spacs", 2, ["'spacs'", "Did you mean 'spaces'", "`hnas --help`"]),
        ("plugins lst", 2, ["'lst'", "Did you mean 'list'", "`hnas plugins --help`"]),
        ("spaces show vgg9 --inptu 1x2x3", 2, ["'--inptu' of `hnas spaces show`", "Did you mean '--input'"]),
        ("--debgu runs", 2, ["'--debgu' of `hnas`", "Did you mean '--debug'"]),
        ("spaces show", 2, ["Missing argument"]),
        ("spaces show vgg9 --input 84x84", 2, ["--input", "'84x84'", "as in 3x84x84"]),
        ("spaces show vgg9 --set space.ge", 2, ["--set", "'space.ge' is not KEY=VALUE"]),
        ("spaces show vgg9 --n-way 1", 2, ["--n-way"]),
        ("spaces show vgg9 --set space.gee=true", 3, ["space.gee=true: unknown key", "did you mean 'space.ge'"]),
        ("config check no_such.toml", 3, ["cannot read the configuration no_such.toml", "hint: "]),
        ("spaces show vg9", 4, ["unknown space 'vg9'", "Did you mean 'vgg9'", "Known: "]),
        ("profile --backend eyeris", 4, ["unknown backend 'eyeris'", "Did you mean 'eyeriss'"]),
        ("profile --backend ./no_such.py:Board", 4, ["there is no file"]),
        ("plugins show vgg", 4, ["unknown plugin 'vgg'", "Did you mean 'vgg9'"]),
    ],
)
def test_a_users_mistake(command, code, parts, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert run(command.split()) == code
    told = capsys.readouterr()
    assert told.out == ""
    assert told.err.startswith("error: ")
    assert "Traceback" not in told.err
    for part in parts:
        assert part in told.err


@pytest.mark.parametrize("command", ["--debug spaces show vg9", "spaces show vg9 --debug"])
def test_debug_shows_the_traceback_wherever_it_stands(command, capsys):
    assert run(command.split()) == 4
    assert "Traceback" in capsys.readouterr().err


def test_the_environment_turns_debug_on_as_well(capsys, monkeypatch):
    monkeypatch.setenv("HNAS_DEBUG", "1")
    assert run(["spaces", "show", "vg9"]) == 4
    assert "Traceback" in capsys.readouterr().err


def test_an_unexpected_error_is_one_line_and_says_how_to_see_more():
    done = subprocess.run([sys.executable, "-c", PROBE, "probe", "fail"], capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr.splitlines() == [
        "error: unexpected ZeroDivisionError: of the probe",
        "hint: run again with --debug for the traceback",
    ]
    done = subprocess.run([sys.executable, "-c", PROBE, "probe", "fail", "--debug"], capture_output=True, text=True)
    assert done.returncode == 1
    assert "Traceback" in done.stderr


def test_ctrl_c_exits_130_with_the_command_that_resumes():
    process = subprocess.Popen(
        [sys.executable, "-c", PROBE, "probe", "wait"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "waiting\n"
    process.send_signal(signal.SIGINT)
    _, told = process.communicate(timeout=20)
    assert process.returncode == 130
    assert told.splitlines()[-2:] == ["interrupted", "to go on: hnas run --run-dir runs/x"]


def test_a_reader_that_leaves_early_gets_no_traceback():
    """`hnas plugins list | head -1`."""
    command = f"{sys.executable} -c 'from hnas_app.cli import main; main()' config show | true"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True)
    assert "Traceback" not in done.stderr
    assert "Exception" not in done.stderr


def test_no_plugins_leaves_third_party_ones_out(make_distribution, capsys, tmp_path, monkeypatch):
    make_distribution("hnas-backend-broken", "raise RuntimeError('no cable')")
    assert run(["plugins", "list", "--no-plugins"]) == 0
    assert "no cable" not in capsys.readouterr().err
    assert run(["plugins", "list"]) == 0
    told = capsys.readouterr()
    assert "hnas-backend-broken 1.0 was left out: RuntimeError: no cable" in told.err
    assert "eyeriss" in told.out


def test_a_plugin_that_ends_the_program_after_a_broken_pipe_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Typer ends the program so when the reader of our output left; then nothing is said."""
    file = tmp_path / "ends_after_a_pipe.py"
    file.write_text(
        "import sys\n"
        "from hnas_plugins.tasks.glyphs.source import Glyphs, GlyphsOptions\n"
        "class Ends(Glyphs):\n"
        "    Options = GlyphsOptions\n"
        "    def check(self):\n"
        "        try:\n"
        "            raise BrokenPipeError\n"
        "        except OSError:\n"
        "            sys.exit('bye')\n"
    )
    assert run(["data", "check", f"{file}:Ends"]) == 4
    assert (
        "tasks ends_after_a_pipe:Ends, in check(), tried to end the program: SystemExit: bye" in capsys.readouterr().err
    )
