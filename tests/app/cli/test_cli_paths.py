"""Paths that no command can use: refused by name, in bounded memory."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from hnas_app.cli import run

COMMANDS = """
runs X
front X
front RUN X
evaluate X
adapt X
adapt X --pictures X
export X --out X
predict X X --device X
config check X
config show --config X
config show --tasks folder --set tasks.root=X
config init X
data check omniglot --data-root X
data check mini-imagenet --data-root X
data check folder --data-root X
plugins show X
plugins check X:Board
plugins check X.py:Board
spaces show X.py:Space
profile --backend X.py:Board --dry-run
profile --backend table:X --dry-run
profile import X
profile export X --backend eyeriss
devices check X
run --run-dir X --preset none --data-root X --tasks folder
""".strip().splitlines()


@pytest.fixture
def paths(tmp_path: Path) -> dict[str, str]:
    (tmp_path / "file").write_text("no folder")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    return {
        "long name": "n" * 300,
        "long path": str(tmp_path.joinpath(*["d" * 50] * 100)),
        "below a file": str(tmp_path / "file" / "inner"),
        "below a loop": str(tmp_path / "loop" / "inner"),
        "file": str(tmp_path / "file"),
        "loop": str(tmp_path / "loop"),
        "device": "/dev/full",
        "folder": str(tmp_path),
        "unknown user": "~no-such-user/x",
    }


@pytest.mark.parametrize("command", COMMANDS)
def test_a_path_of_no_use(command, paths, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("HNAS_HOME", str(tmp_path / "home"))
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    for kind, path in paths.items():
        code = run([path if w == "RUN" else w.replace("X", path) for w in command.split()])
        told = capsys.readouterr().err
        assert code in (0, 2, 3, 4, 6), f"{kind}: {told}"
        assert "unexpected" not in told
        assert "Traceback" not in told


def test_a_folder_that_may_not_be_entered(tmp_path, capsys, monkeypatch):
    if os.geteuid() == 0:  # who may enter any
        monkeypatch.setattr(Path, "is_file", lambda path: os.stat(tmp_path / ("n" * 300)))
    (tmp_path / "closed").mkdir(mode=0)
    assert run(["evaluate", str(tmp_path / "closed" / "run")]) == 3
    told = capsys.readouterr().err
    assert told.startswith("error: cannot use ")
    assert "\nhint: check the path and its permissions" in told


def test_the_traceback_of_such_a_path_on_request(capsys):
    assert run(["evaluate", "n" * 300, "--debug"]) == 3
    assert "Traceback" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("command", "kind"),
    [("config check {}", "/dev/full"), ("config show --config {}", "/dev/zero"), ("profile import {}", "sparse")],
)
def test_a_file_without_end(command, kind, tmp_path):
    if kind == "sparse":
        kind = str(tmp_path / "sparse.json")
        with open(kind, "wb") as file:
            file.truncate(10 << 30)
    code = f"import sys; from hnas_app.cli import run; sys.exit(run({command.format(kind).split()!r}))"

    def bound() -> None:
        resource.setrlimit(resource.RLIMIT_AS, (1 << 30, 1 << 30))

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, preexec_fn=bound)
    assert done.returncode == 3, done.stderr
    assert "it has more than" in done.stderr


def test_a_pipe_is_read_to_its_end(capsys, monkeypatch):
    """``hnas config check <(…)``."""
    reader, writer = os.pipe()

    def write() -> None:
        with os.fdopen(writer, "w") as file:
            for i in range(3000):
                file.write(f"# a line of {i}\n")
            file.write("seed = 7\n")

    writing = threading.Thread(target=write)
    writing.start()
    assert run(["config", "show", "--config", f"/dev/fd/{reader}", "--json"]) == 0
    writing.join()
    os.close(reader)
    assert '"value": 7' in capsys.readouterr().out


def test_a_null_device_is_an_empty_configuration(capsys):
    assert run(["config", "check", "/dev/null"]) == 0


@pytest.mark.parametrize(
    "text", ['[tasks]\nname = "folder"\nroot = "a\\u0000b"', '[space]\nname = "./a\\u0000b.py:Space"']
)
def test_a_nul_in_a_setting(text, tmp_path, capsys):
    (tmp_path / "hnas.toml").write_text(text)
    assert run(["config", "check", str(tmp_path / "hnas.toml")]) == 3
    assert "without NUL characters" in capsys.readouterr().err


def test_a_home_of_an_unknown_user(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HNAS_HOME", "~no-such-user")
    assert run(["devices", "list"]) == 0
    monkeypatch.setenv("HNAS_DATA", "~no-such-user")
    assert run(["data", "check", "omniglot"]) == 3
