"""How the kernels are had: compiled once, kept, distrusted when damaged, and done without where they cannot be had.

These compile without optimisation, in 0.2 s, into a home of their own.
"""

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from hnas.toolkit import ccompile
from hnas_plugins.engine import native

COMPILING = "hnas: compiling the fast engine for this machine, once; some ten seconds\n"
QUICK = ("-O0", "-shared", "-fPIC")
ask = native.library.__wrapped__  # the answer itself is remembered by a process


@pytest.fixture
def home(tmp_path, monkeypatch):
    """A home with no kernels, in a process that has not asked for any."""
    monkeypatch.setenv("HNAS_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("HNAS_ENGINE", raising=False)
    monkeypatch.setattr(native, "FLAGS", QUICK)
    return tmp_path / "home"


@pytest.fixture(scope="module")
def a_build(tmp_path_factory):
    """The library that is built in a new `home`."""
    folder = tmp_path_factory.mktemp("a-build")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HNAS_HOME", str(folder))
        patch.delenv("HNAS_ENGINE", raising=False)
        patch.setattr(native, "FLAGS", QUICK)
        if ask(torch.float32) is None:
            pytest.skip("no C compiler")
    (library,) = built(folder)
    return library


@pytest.fixture
def compiler(home):
    found = next((p for c in (os.environ.get("CC"), "cc", "gcc", "clang") if c and (p := shutil.which(c))), None)
    if found is None:
        pytest.skip("no C compiler")
    return found


def built(home):
    return sorted((home / "engine").glob("*"))


def script(path, text):
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return str(path)


def test_a_build_is_kept_and_used_again(home, compiler, monkeypatch, capsys):
    """Without the cache every process would compile for seconds; with leftovers it would grow."""
    assert ask(torch.float32) is not None
    (kept,) = built(home)
    before = kept.stat()
    monkeypatch.setattr(ccompile.tempfile, "TemporaryDirectory", None)  # a second compilation would fail here
    assert ask(torch.float32) is not None
    assert built(home) == [kept]
    assert kept.stat() == before
    assert capsys.readouterr() == ("", COMPILING)


def test_other_flags_or_another_type_make_another_build(home, compiler, monkeypatch):
    """A cache that did not tell them apart would run float64 through float32 kernels, or old kernels for ever."""
    for dtype in (torch.float32, torch.float64):
        assert ask(dtype) is not None
    monkeypatch.setattr(native, "FLAGS", (*QUICK, "-DOTHER"))
    assert ask(torch.float32) is not None
    assert len(built(home)) == 3


def test_other_types_have_no_kernels(home, compiler):
    """Half precision goes the plain way instead of being read as float32."""
    assert ask(torch.float16) is None
    assert built(home) == []


def cut_to(size):
    def damage(path):
        with path.open("r+b") as file:
            file.truncate(size)

    return damage


def flip(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0xFF
    path.write_bytes(content)


@pytest.mark.parametrize(
    "damage",
    [cut_to(0), cut_to(100), cut_to(5000), cut_to(20000), flip],
    ids=["empty", "100", "5000", "20000", "flipped"],
)
def test_a_damaged_build_is_made_again(a_build, home, damage, capsys):
    """A power cut leaves such files; loading one ends the process by SIGBUS, at every start until someone finds it."""
    (home / "engine").mkdir(parents=True)
    kept = Path(shutil.copy(a_build, home / "engine"))
    assert kept.stat().st_size > 20000
    damage(kept)
    assert ask(torch.float32) is not None
    (again,) = built(home)
    assert again.name == kept.name
    assert again.stem.endswith(hashlib.sha256(again.read_bytes()).hexdigest()[:20])
    assert capsys.readouterr() == ("", COMPILING)


@pytest.mark.parametrize("cc", [None, "/nonexistent/cc"])
def test_without_a_compiler_the_plain_path_is_taken_and_said(home, monkeypatch, capsys, cc):
    monkeypatch.setenv("PATH", "")
    monkeypatch.delenv("CC", raising=False)
    if cc:
        monkeypatch.setenv("CC", cc)
    assert ask(torch.float32) is None
    told = capsys.readouterr().err
    assert told.count("\n") == 1
    assert "no C compiler was found" in told
    assert "training goes on with plain torch" in told


def test_a_compiler_that_fails_is_quoted(home, tmp_path, monkeypatch, capsys):
    """Such as one without the C library's headers, as in slim containers."""
    broken = 'case "$1" in --version) echo broken 1.0;; *) echo "norm.c:7:10: fatal error: math.h" >&2; exit 1;; esac'
    monkeypatch.setenv("CC", script(tmp_path / "broken-cc", broken))
    assert ask(torch.float32) is None
    told = capsys.readouterr().err
    assert told.count("\n") == 2
    assert "fatal error: math.h" in told
    assert built(home) == []


def test_a_compiler_that_cannot_even_start_is_no_crash(home, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("CC", script(tmp_path / "cc", "exit 3"))
    assert ask(torch.float32) is None
    assert "exit status 3" in capsys.readouterr().err


def test_a_compiler_that_knows_no_tuning_for_this_processor_serves(home, tmp_path, compiler, monkeypatch, capsys):
    """clang on some ARM boards refuses -march=native."""
    refuse = f'case "$*" in *=native*) echo "unsupported" >&2; exit 1;; esac\nexec {compiler} "$@"'
    monkeypatch.setenv("CC", script(tmp_path / "cc", refuse))
    assert ask(torch.float32) is not None
    assert capsys.readouterr() == ("", COMPILING)


def test_a_home_that_cannot_be_written_is_no_crash(home, compiler, monkeypatch, capsys):
    monkeypatch.setenv("HNAS_HOME", "/dev/null/hnas")
    assert ask(torch.float32) is None
    assert "Not a directory" in capsys.readouterr().err


def test_the_plain_path_can_be_asked_for(home, compiler, monkeypatch, capsys):
    """Silently: it is what the user wants."""
    monkeypatch.setenv("HNAS_ENGINE", "plain")
    assert ask(torch.float32) is None
    assert built(home) == []
    assert capsys.readouterr() == ("", "")


def test_processes_may_build_at_once(home, compiler):
    """As workers of two runs do that start together on a new machine."""
    code = (
        "import torch\n"
        "from hnas_plugins.engine import native\n"
        f"native.FLAGS = {QUICK}\n"
        "input()\n"  # both start at the same moment, after the slow imports
        "assert native.library(torch.float32) is not None"
    )
    start = {"stdin": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    both = [
        subprocess.Popen([sys.executable, "-c", code], env={**os.environ, "OMP_NUM_THREADS": "1"}, **start)
        for _ in "ab"
    ]
    for process in both:
        process.stdin.write("\n")
        process.stdin.flush()
    for process in both:
        assert process.communicate(timeout=120)[1] in ("", COMPILING)
        assert process.returncode == 0
    assert 1 <= len(built(home)) <= 2  # two where the compiler's output differs; either is whole
    assert all(Path(p).suffix == ".so" for p in built(home))
    assert ask(torch.float32) is not None
