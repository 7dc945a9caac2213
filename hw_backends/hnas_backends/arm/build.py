"""Renew the prebuilt programs: ``python -m hnas_backends.arm.build``. One version of ziglang makes the same bytes on
every machine."""

from __future__ import annotations

import sys
from pathlib import Path

from hnas import DeviceError
from hnas.toolkit.files import write_bytes, write_json
from hnas_backends.arm.binaries import FOLDER, SCHEMA, STATIC, ZIG, build, sha256, toolchain
from hnas_backends.arm.options import ARCHS
from hnas_backends.layerbench.program import FLAGS, digest


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
            "sha256": sha256(content),
            "size": len(content),
            "flags": [*ZIG[arch], *FLAGS, *STATIC],
        }
        print(f"{folder / f'layerbench-{arch}'}: {len(content)} bytes, sha256 {entries[arch]['sha256']}")
    (compiler,) = compilers
    write_json(
        folder / "manifest.json", {"schema": SCHEMA, "source": digest(), "compiler": compiler, "binaries": entries}
    )


if __name__ == "__main__":
    try:
        renew()
    except DeviceError as error:
        sys.exit(f"error: {error}\nhint: {error.hint}")
