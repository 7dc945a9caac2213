"""What the beds need of this machine; without it a test is skipped with the reason, or fails where it must run."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import NoReturn

import pytest

HERE = Path(__file__).resolve().parent
PACKAGES = "qemu-user-static openssh-server qemu-system-arm dropbear-bin cpio kmod"
os.environ["PATH"] += os.pathsep + os.pathsep.join(("/usr/sbin", "/sbin"))


def missing(reason: str) -> NoReturn:
    """Skip the test, or fail it where ``HNAS_REQUIRE_TOOLS=1`` says that it must run."""
    if os.environ.get("HNAS_REQUIRE_TOOLS") == "1":
        pytest.fail(f"{reason}, and HNAS_REQUIRE_TOOLS=1", pytrace=False)
    pytest.skip(reason)


def need(*programs: str) -> None:
    """Have these programs, or leave the test."""
    if lacking := [p for p in programs if shutil.which(p) is None]:
        missing(f"{', '.join(lacking)} not found: apt-get install --no-install-recommends {PACKAGES}")


def need_namespaces() -> None:
    """Have a kernel that lets any user mount binfmt_misc in a namespace, or leave the test."""
    need("unshare", "qemu-arm-static", "qemu-aarch64-static", "sshd", "ssh", "ssh-keygen", "dpkg-deb", "apt-get")
    if said := _namespaces():
        missing(f"no user namespace with a binfmt_misc of its own (Linux 6.7 and newer): {said}")


@cache
def _namespaces() -> str:
    mount = ["mount", "-t", "binfmt_misc", "none", "/proc/sys/fs/binfmt_misc"]
    done = subprocess.run(["unshare", "-Urm", *mount], capture_output=True, text=True)
    return done.stderr.strip() or "refused" if done.returncode else ""


def run(*command: str | Path, env: dict[str, str] | None = None) -> str:
    """Run a command of the bed's and return what it printed; its words are in the error where it fails."""
    words: Sequence[str] = [str(c) for c in command]
    done = subprocess.run(words, capture_output=True, text=True, env=env, stdin=subprocess.DEVNULL)
    if done.returncode:
        raise RuntimeError(f"{' '.join(words)} ended with {done.returncode}: {done.stdout[-800:]}{done.stderr[-800:]}")
    return done.stdout
