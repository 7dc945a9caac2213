"""ARM-only root file systems with what a Pi has: Debian's static busybox of that architecture, sensors, vcgencmd."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from attrs import frozen

from arm_bed.tools import HERE, missing, run


@frozen
class Kind:
    """A board: Debian's architecture, the emulator, its processor, and what it calls itself."""

    debian: str
    qemu: str
    cpu: str
    model: str
    part: str
    features: str


KINDS = {
    "pizero": Kind("armel", "qemu-arm-static", "arm1176", "Raspberry Pi Zero W Rev 1.1", "0xb76", "half thumb vfp tls"),
    "pi4-32": Kind("armhf", "qemu-arm-static", "cortex-a7", "Raspberry Pi 4 Model B Rev 1.4", "0xd08", "neon vfpv4"),
    "pi4": Kind("arm64", "qemu-aarch64-static", "cortex-a72", "Raspberry Pi 4 Model B Rev 1.4", "0xd08", "fp asimd"),
}
CPUFREQ = "sys/devices/system/cpu/cpu{}/cpufreq"
THROTTLED = "sys/devices/platform/soc/soc:firmware/get_throttled"
SENSORS = {
    "proc/loadavg": "0.08 0.03 0.01 1/99 1234\n",
    "sys/class/thermal/thermal_zone0/temp": "48312\n",
    THROTTLED: "0\n",
}
VCGENCMD = """#!/bin/sh
case $1 in get_throttled) cat /etc/throttled;; *) exit 1;; esac
"""


def cache() -> Path:
    """Return where fetched packages are kept between runs."""
    own = os.environ.get("HNAS_ARM_BED")
    return Path(own) if own else Path("~/.cache/hnas-arm-bed").expanduser()


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Let one test run at a time fetch into ``folder``."""
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / ".lock", "w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def fetched(name: str, debian: str, *packages: str) -> Path:
    """Return a folder with Debian's packages of another architecture unpacked; leave the test where there are none."""
    folder = cache() / name
    with locked(cache()):
        if not (folder / ".done").exists():
            shutil.rmtree(folder, ignore_errors=True)
            try:
                run(
                    HERE / "fetch_debs.sh",
                    debian,
                    folder,
                    *packages,
                    env={**os.environ, "APT_PRIVATE": str(cache() / "apt")},
                )
            except RuntimeError as cause:
                missing(f"Debian's packages for {debian} cannot be had: {cause}")
            (folder / ".done").write_text("")
    return folder


def make_root(kind: str, root: Path) -> Path:
    """Make a board's root file system in ``root``, which must not exist."""
    board = KINDS[kind]
    shutil.copytree(fetched(f"busybox-{board.debian}", board.debian, "busybox-static") / "bin", root / "bin")
    for name in run(board.qemu, root / "bin/busybox", "--list").split():
        with contextlib.suppress(FileExistsError):
            (root / "bin" / name).symlink_to("busybox")
    for folder in ("dev/shm", "etc", "pi", "proc", "sys", "tmp", "usr/bin", "var/tmp"):
        (root / folder).mkdir(parents=True, exist_ok=True)
    (root / "dev/null").touch()
    (root / "etc/passwd").write_text("root:x:0:0::/pi:/bin/sh\n")
    (root / "usr/bin/vcgencmd").write_text(VCGENCMD)
    (root / "usr/bin/vcgencmd").chmod(0o755)
    write(root, "proc/device-tree/model", board.model + "\0")
    write(root, "proc/cpuinfo", f"processor\t: 0\nFeatures\t: {board.features}\nCPU part\t: {board.part}\n")
    for core in range(os.cpu_count() or 1):
        for name, value in (
            ("scaling_governor", "performance"),
            ("scaling_cur_freq", 1500000),
            ("cpuinfo_max_freq", 1500000),
        ):
            write(root, f"{CPUFREQ.format(core)}/{name}", f"{value}\n")
    reset(root)
    return root


def reset(root: Path) -> None:
    """Make the sensors say that all is well, and forget what was copied onto the board."""
    for path, text in SENSORS.items():
        write(root, path, text)
    write(root, "etc/throttled", "throttled=0x0\n")
    for folder in ("pi", "tmp", "var/tmp", "dev/shm"):
        shutil.rmtree(root / folder, ignore_errors=True)
        (root / folder).mkdir()
        (root / folder).chmod(0o777)


def write(root: Path, path: str, text: str) -> None:
    """Put a text onto the board, at once."""
    (root / path).parent.mkdir(parents=True, exist_ok=True)
    fresh = root / (path + ".new")
    fresh.write_text(text)
    fresh.rename(root / path)
