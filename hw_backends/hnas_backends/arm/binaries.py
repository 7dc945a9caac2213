"""Select the program for a board: a prebuilt one, else one that ziglang or a cross gcc on PATH builds here.

What was built here is kept in the user's cache.
"""

from __future__ import annotations

import hashlib
import importlib.util
import shutil
import sys
import tempfile
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from attrs import frozen

from hnas import DataError, DeviceError
from hnas.toolkit.ccompile import CompileError, cache_key, cached, compile_in
from hnas.toolkit.files import parse_json, write_bytes
from hnas.toolkit.home import home
from hnas_backends.arm.options import Arch
from hnas_backends.child_process import run
from hnas_backends.layerbench.program import CACHE, FLAGS, digest, sources

SCHEMA = 1
FOLDER = Path(__file__).parent / "binaries"
"""Beside the code, so that an editable install has them too."""
STATIC = ("-static", "-s")
ZIG: Mapping[Arch, tuple[str, ...]] = {
    "armv6": ("-target", "arm-linux-musleabihf", "-mcpu=arm1176jzf_s"),
    # Not cortex_a7, with which clang avoids fused multiply-add; not cortex_a72, which for 32 bit is ARMv8 only.
    "armv7": ("-target", "arm-linux-musleabihf", "-mcpu=generic+v7a+vfp4+neon"),
    "aarch64": ("-target", "aarch64-linux-musl", "-mcpu=cortex_a72"),
}
GCC: Mapping[Arch, tuple[str, ...]] = {
    # Debian's armhf compiler cannot serve the Zero: its libc is ARMv7, and ends there with SIGILL.
    "armv6": ("arm-linux-gnueabi-gcc", "-marm", "-mcpu=arm1176jzf-s", "-mfpu=vfp", "-mfloat-abi=softfp"),
    "armv7": ("arm-linux-gnueabihf-gcc", "-mcpu=cortex-a7", "-mfpu=neon-vfpv4"),
    "aarch64": ("aarch64-linux-gnu-gcc", "-mcpu=cortex-a72"),
}


def sha256(content: bytes) -> str:
    """Return the digest that names a program."""
    return hashlib.sha256(content).hexdigest()


def binary(arch: Arch) -> bytes | None:
    """Return the program for ``arch``, or ``None`` if it can only be compiled on the board itself.

    In order: the prebuilt one, if it is of these sources; ziglang; a cross gcc on PATH. Raises `DeviceError` if a
    compiler fails.
    """
    if (made := prebuilt(arch)) is not None:
        return made
    found = toolchain(arch)
    return None if found is None else _built(arch, found)


@cache
def manifest() -> dict[str, Any]:
    """Return the manifest of the prebuilt programs; empty if there are none."""
    try:
        content = parse_json((FOLDER / "manifest.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) and content.get("schema") == SCHEMA else {}


def prebuilt(arch: Arch) -> bytes | None:
    """Return the prebuilt program, or ``None`` if it is of other sources, damaged or missing."""
    known = manifest()
    if known.get("source") != digest():
        return None
    try:
        content = (FOLDER / f"layerbench-{arch}").read_bytes()
        return content if sha256(content) == known["binaries"][arch]["sha256"] else None
    except (OSError, KeyError):
        return None


def _built(arch: Arch, found: Toolchain) -> bytes:
    """Return the program compiled here, from the cache if it was compiled before."""
    key = cache_key(digest(), arch, found.version, " ".join((*ZIG[arch], *GCC[arch])))
    folder = home() / CACHE
    if (known := cached(folder, key)) is not None:
        return known.read_bytes()
    print(f"hnas: compiling the layer runner for {arch} with {found.version}, once", file=sys.stderr)
    content = build(arch, found)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_bytes(folder / f"{key}-{sha256(content)[:20]}", content)
    except (OSError, DataError) as cause:
        raise DeviceError(
            f"the layer runner for {arch} cannot be kept in {folder}: {cause}",
            hint="make that folder writable, or set HNAS_HOME to one that is",
        ) from cause
    return content


@frozen
class Toolchain:
    """A compiler for one kind of ARM: the command, and its name with its version."""

    command: tuple[str, ...]
    version: str


def toolchain(arch: Arch) -> Toolchain | None:
    """Return the compiler to use: ziglang, else a cross gcc, else ``None``."""
    zig = (sys.executable, "-m", "ziglang")
    if importlib.util.find_spec("ziglang"):
        return Toolchain((*zig, "cc", *ZIG[arch]), f"zig {_said(*zig, 'version') or 'of unknown version'}")
    program, *flags = GCC[arch]
    path = shutil.which(program)
    return None if path is None else Toolchain((path, *flags), f"{program} {_said(path, '-dumpfullversion')}")


def build(arch: Arch, found: Toolchain) -> bytes:
    """Return the program for ``arch``. The first build with ziglang takes a minute. Raises `DeviceError`."""
    with tempfile.TemporaryDirectory(prefix="hnas-build-") as folder:
        try:
            made = compile_in(Path(folder), [*found.command, *FLAGS, *STATIC], sources(), timeout_s=900)
        except CompileError as cause:
            if cause.reason != "failed":
                raise DeviceError(f"the layer runner for {arch} cannot be compiled: {cause}") from cause
            raise DeviceError(
                f"{found.version} cannot compile the layer runner for {arch}: {cause.detail[-400:]}",
                hint="install another version: pip install --upgrade ziglang",
            ) from cause
        return made.read_bytes()


@cache
def _said(*command: str) -> str:
    return run(command, timeout_s=60).stdout.decode(errors="replace").strip()
