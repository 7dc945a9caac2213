"""Build the program for ARM: with ziglang, or with a cross gcc on PATH."""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from functools import cache
from pathlib import Path

from attrs import frozen

from hnas import DeviceError
from hnas.toolkit.ccompile import CompileError, compile_in
from hnas_backends.arm.options import Arch
from hnas_backends.layerbench.program import FLAGS, sources

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


@frozen
class Toolchain:
    """A compiler for one kind of ARM: the command, and what it calls itself."""

    command: tuple[str, ...]
    version: str


def toolchain(arch: Arch) -> Toolchain | None:
    """Return the compiler to use: ziglang, else a cross gcc, else ``None``."""
    if importlib.util.find_spec("ziglang"):
        return Toolchain((sys.executable, "-m", "ziglang", "cc", *ZIG[arch]), f"zig {_zig_version()}")
    program, *flags = GCC[arch]
    path = shutil.which(program)
    if path is None:
        return None
    said = subprocess.run([path, "-dumpfullversion"], capture_output=True, text=True, timeout=60).stdout.strip()
    return Toolchain((path, *flags), f"{program} {said}")


def build(arch: Arch, found: Toolchain) -> bytes:
    """Return the program for ``arch``. The first time with ziglang takes a minute. Raises `DeviceError`."""
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
def _zig_version() -> str:
    command = [sys.executable, "-m", "ziglang", "version"]
    return subprocess.run(command, capture_output=True, text=True, timeout=60).stdout.strip() or "of unknown version"
