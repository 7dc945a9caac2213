"""The prebuilt programs: of these sources, for those processors, the same byte for byte when built again."""

from __future__ import annotations

import hashlib
import importlib.util
import os
import subprocess
import sys

import pytest
from arm_bed.tools import missing

from hnas_backends.arm import binaries
from hnas_backends.arm.options import ARCHS
from hnas_backends.layerbench.program import FLAGS, digest

MACHINE = {"armv6": (1, 40), "armv7": (1, 40), "aarch64": (2, 183)}
"""ELF: class (1 is 32 bit) and machine."""


@pytest.mark.parametrize("arch", ARCHS)
def test_the_prebuilt_program_is_of_these_sources(arch):
    """A board measured with a program of other sources: rows that nobody can tell apart. `make arm-binaries` renews."""
    assert binaries.manifest()["source"] == digest()
    made = binaries.prebuilt(arch)
    assert made is not None
    assert binaries.binary(arch) == made
    assert made[:4] == b"\x7fELF"
    assert (made[4], int.from_bytes(made[18:20], "little")) == MACHINE[arch]
    assert len(made) < 120_000
    assert binaries.manifest()["compiler"].startswith("zig ")
    assert binaries.manifest()["binaries"][arch]["flags"] == [*binaries.ZIG[arch], *FLAGS, *binaries.STATIC]


def test_a_damaged_or_outdated_one_is_not_used(tmp_path, monkeypatch):
    monkeypatch.setattr(binaries, "FOLDER", tmp_path)
    for content in (
        "",
        "[]",
        '{"schema": 99}',
        '{"schema": 1, "source": "0"}',
        f'{{"schema": 1, "source": "{digest()}"}}',
    ):
        (tmp_path / "manifest.json").write_text(content)
        binaries.manifest.cache_clear()
        assert binaries.prebuilt("armv6") is None
    binaries.manifest.cache_clear()
    monkeypatch.undo()
    monkeypatch.setitem(binaries.manifest()["binaries"]["armv6"], "sha256", "0")
    assert binaries.prebuilt("armv6") is None


def test_without_a_prebuilt_one_a_compiler_makes_it_once(tmp_path, monkeypatch):
    """The C program was changed and not yet built anew; here the compiler is this machine's own."""
    from hnas_backends.layerbench.program import compiler

    monkeypatch.setattr(binaries, "prebuilt", lambda arch: None)
    monkeypatch.setenv("HNAS_HOME", str(tmp_path))
    here = binaries.Toolchain((compiler().path,), compiler().version)
    monkeypatch.setattr(binaries, "toolchain", lambda arch: here)
    made = binaries.binary("armv7")
    assert made is not None
    (kept,) = (tmp_path / "layerbench").iterdir()
    stamp = kept.stat().st_mtime_ns
    assert binaries.binary("armv7") == made
    assert kept.stat().st_mtime_ns == stamp
    kept.write_bytes(b"damaged")
    assert binaries.binary("armv7") == made
    monkeypatch.setattr(binaries, "toolchain", lambda arch: None)
    assert binaries.binary("armv7") is None


@pytest.mark.slow
def test_they_can_be_built_again_byte_for_byte(tmp_path):
    """Nobody could tell what a binary in the tree does, if it were not what its sources give. Takes some minutes."""
    if importlib.util.find_spec("ziglang") is None:
        missing("ziglang is not installed: pip install 'hnas[arm]'")
    code = "import sys, pathlib; from hnas_backends.arm.build import renew; renew(pathlib.Path(sys.argv[1]))"
    cache = {"ZIG_GLOBAL_CACHE_DIR": str(tmp_path / "global"), "ZIG_LOCAL_CACHE_DIR": str(tmp_path / "local")}
    again = tmp_path / "again"
    subprocess.run([sys.executable, "-c", code, str(again)], check=True, env={**os.environ, **cache})
    said, now = binaries.manifest(), (again / "manifest.json").read_text()
    if f'"{said["compiler"]}"' not in now:
        missing(f"the programs were built with {said['compiler']}, and another ziglang is installed")
    assert now == (binaries.FOLDER / "manifest.json").read_text()
    for arch in ARCHS:
        content = (again / f"layerbench-{arch}").read_bytes()
        assert hashlib.sha256(content).hexdigest() == said["binaries"][arch]["sha256"]
