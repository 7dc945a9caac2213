"""C is compiled once, kept, distrusted when damaged; every way to fail has a reason that callers can word."""

from __future__ import annotations

import ctypes
import hashlib
import shutil
import subprocess
from pathlib import Path

import pytest

from hnas.toolkit import ccompile
from hnas.toolkit.ccompile import CompileError, build, compile_in, compiler

CODE = {
    "main.c": b'#include <stdio.h>\n#include "seven.h"\nint main(void) { return printf("%d", seven()) < 0; }\n',
    "seven.c": b'#include "seven.h"\nint seven(void) { return NUMBER; }\n',
    "seven.h": b"int seven(void);\n",
}
FLAGS = ("-O0", "-fPIC", "-DNUMBER=7")


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    if not any(map(shutil.which, ("cc", "gcc", "clang"))):
        pytest.skip("no C compiler")
    monkeypatch.delenv("CC", raising=False)
    monkeypatch.setenv("HNAS_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def script(path: Path, text: str) -> str:
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return str(path)


def test_a_program_and_a_library_are_built_once_and_named_by_their_content(home):
    """A second build would cost seconds in every process."""
    said: list[str] = []
    program, library = (build(CODE, FLAGS, kind, "tools", lambda: said.append("")) for kind in ("program", "shared"))
    assert subprocess.run([program], capture_output=True, text=True, check=True).stdout == "7"
    assert ctypes.CDLL(str(library)).seven() == 7
    assert library.suffix == ".so"
    assert sorted((home / "tools").iterdir()) == sorted([program, library])
    for path in (program, library):
        assert path.stem.endswith(f"-{hashlib.sha256(path.read_bytes()).hexdigest()[:20]}")
    assert len(said) == 2
    assert build(CODE, FLAGS, "program", "tools", lambda: said.append("")) == program
    assert len(said) == 2


@pytest.mark.parametrize(
    ("sources", "flags"),
    [(CODE, (*FLAGS, "-DOTHER")), ({**CODE, "seven.h": b"extern int seven(void);\n"}, FLAGS)],
    ids=["flag", "header"],
)
def test_another_flag_or_header_makes_another_build(home, sources, flags):
    """Else old code would run for ever."""
    assert build(CODE, FLAGS, "program", "tools") != build(sources, flags, "program", "tools")


def test_another_compiler_or_processor_makes_another_build(home, tmp_path, monkeypatch):
    """A home on a network serves many machines; code for one may end with SIGILL on another."""
    before = build(CODE, FLAGS, "program", "tools")
    monkeypatch.setattr(ccompile, "_processor", lambda: "another one")
    second = build(CODE, FLAGS, "program", "tools")
    monkeypatch.setenv("CC", script(tmp_path / "my-cc", f'exec {compiler().path} "$@"'))
    assert len({before, second, build(CODE, FLAGS, "program", "tools")}) == 3


@pytest.mark.parametrize("content", [b"", b"damaged"])
def test_a_damaged_build_is_made_again(home, content):
    """A power cut leaves such files."""
    path = build(CODE, FLAGS, "shared", "tools")
    whole = path.read_bytes()
    path.unlink()
    path.write_bytes(content)
    assert build(CODE, FLAGS, "shared", "tools") == path
    assert path.read_bytes() == whole


def test_the_first_tuning_that_the_compiler_knows_is_taken(home, tmp_path, monkeypatch):
    log, real = tmp_path / "log", compiler().path
    refuse = f'case "$*" in *-march=native*) exit 1;; esac\necho "$*" >> {log}\nexec {real} "$@"'
    monkeypatch.setenv("CC", script(tmp_path / "cc", refuse))
    build(CODE, FLAGS, "program", "tools")
    assert "-mcpu=native" in log.read_text()


def test_no_path_of_this_machine_gets_into_a_build(home, tmp_path):
    """The prebuilt programs are compared byte for byte with what another machine makes."""
    made = []
    for name in ("a", "a-longer-name"):
        (tmp_path / name).mkdir()
        made.append(compile_in(tmp_path / name, [compiler().path, *FLAGS, "-g0"], CODE).read_bytes())
    assert made[0] == made[1]


@pytest.mark.parametrize(
    ("cc", "reason", "said"),
    [
        ("exit 3", "broken", "exit status 3"),
        (
            'case "$1" in --version) echo my 1.0;; *) echo "no math.h" >&2; exit 1;; esac',
            "failed",
            "cc failed: no math.h",
        ),
    ],
)
def test_a_compiler_that_does_not_work_is_told_from_one_that_fails(home, tmp_path, monkeypatch, cc, reason, said):
    monkeypatch.setenv("CC", script(tmp_path / "cc", cc))
    with pytest.raises(CompileError, match=said) as caught:
        build(CODE, FLAGS, "program", "tools")
    assert (caught.value.reason, caught.value.compiler) == (reason, str(tmp_path / "cc"))


def test_no_compiler_is_a_reason_of_its_own(home, monkeypatch):
    monkeypatch.setenv("PATH", "")
    with pytest.raises(CompileError, match="no C compiler was found") as caught:
        build(CODE, FLAGS, "program", "tools")
    assert caught.value.reason == "missing"


def test_a_compiler_that_does_not_come_to_an_end_is_stopped(home, tmp_path):
    with pytest.raises(CompileError, match="timed out") as caught:
        compile_in(tmp_path, [script(tmp_path / "cc", "exec sleep 60")], CODE, timeout_s=0.1)
    assert caught.value.reason == "slow"


@pytest.mark.parametrize("where", ["", ">&2"])
def test_a_compiler_that_writes_without_end_is_ended(home, tmp_path, monkeypatch, where):
    """It filled the memory."""
    cc = script(tmp_path / "cc", f"exec cat /dev/zero {where}")
    monkeypatch.setenv("CC", cc)
    with pytest.raises(CompileError) as caught:
        compiler()
    assert caught.value.reason == "broken"
    with pytest.raises(CompileError) as caught:
        compile_in(tmp_path, [cc], CODE)
    assert len(caught.value.detail) <= 1 << 20
    assert caught.value.reason == "failed"


def test_a_cache_that_cannot_be_written_is_a_reason_of_its_own(home, monkeypatch):
    monkeypatch.setenv("HNAS_HOME", "/dev/null/hnas")
    with pytest.raises(CompileError, match="Not a directory") as caught:
        build(CODE, FLAGS, "program", "tools")
    assert caught.value.reason == "unwritable"
