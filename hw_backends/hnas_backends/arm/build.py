"""Build the program for ARM: with ziglang, or with a cross gcc on PATH. ``python -m hnas_backends.arm.build`` renews
the prebuilt ones, byte for byte the same wherever it runs with one version of ziglang."""

from __future__ import annotations

import hashlib
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
from hnas.toolkit.files import write_bytes, write_json
from hnas_backends.arm.binaries import FOLDER, SCHEMA
from hnas_backends.arm.options import ARCHS, Arch
from hnas_backends.layerbench import FLAGS, digest, write_sources

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
        names = [path.name for path in write_sources(Path(folder))]
        # Relative names, so that no path of this machine gets into the program.
        command = [*found.command, *FLAGS, *STATIC, "-o", "layerbench", *names]
        try:
            done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=900)
        except (OSError, subprocess.TimeoutExpired) as cause:
            raise DeviceError(f"the layer runner for {arch} cannot be compiled: {cause}") from cause
        if done.returncode:
            raise DeviceError(
                f"{found.version} cannot compile the layer runner for {arch}: {done.stderr.strip()[-400:]}",
                hint="install another version: pip install --upgrade ziglang",
            )
        return Path(folder, "layerbench").read_bytes()


def renew(folder: Path = FOLDER) -> None:
    """Build the prebuilt programs and their manifest into ``folder``. Raises `DeviceError` without ziglang."""
    folder.mkdir(exist_ok=True)
    entries, compilers = {}, set()
    for arch in ARCHS:
        found = toolchain(arch)
        if found is None or not found.version.startswith("zig "):
            raise DeviceError("the prebuilt programs are made with ziglang, which is missing", hint="make arm-binaries")
        content = build(arch, found)
        compilers.add(found.version)
        write_bytes(folder / f"layerbench-{arch}", content)
        entries[arch] = {
            "sha256": hashlib.sha256(content).hexdigest(),
            "size": len(content),
            "flags": [*ZIG[arch], *FLAGS, *STATIC],
        }
        print(f"{folder / f'layerbench-{arch}'}: {len(content)} bytes, sha256 {entries[arch]['sha256']}")
    (compiler,) = compilers
    write_json(
        folder / "manifest.json", {"schema": SCHEMA, "source": digest(), "compiler": compiler, "binaries": entries}
    )


@cache
def _zig_version() -> str:
    command = [sys.executable, "-m", "ziglang", "version"]
    return subprocess.run(command, capture_output=True, text=True, timeout=60).stdout.strip() or "of unknown version"


if __name__ == "__main__":
    try:
        renew()
    except DeviceError as error:
        sys.exit(f"error: {error}\nhint: {error.hint}")
