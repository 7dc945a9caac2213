"""The program on the board: one file named by its content, in the first folder that can hold and run it."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Sequence
from typing import Literal

from attrs import frozen

from hnas import DeviceError
from hnas_backends.arm.binaries import sha256
from hnas_backends.arm.ssh import Answer, Ssh
from hnas_backends.layerbench.lines import Hello
from hnas_backends.layerbench.program import FLAGS, PROTOCOL, SOURCES, digest, sources

FOLDERS = ("~/.cache/hnas", "/tmp/hnas-", "/var/tmp/hnas-", "/dev/shm/hnas-")
"""Tried in order; the last three end with the user's id, and have to belong to the user."""
_EXPAND = 'case $d in "~/"*) d="$HOME/${d#"~/"}";; *) d="$d$(id -u)";; esac; '
_FOLDER = _EXPAND + 'umask 077; mkdir -p "$d" && [ -O "$d" ] || exit 41; '
_SAME = '{ ! command -v sha256sum >/dev/null || case $(sha256sum < "$p") in "$s"*) true;; *) false;; esac; }'
_FIND = (
    'f=$1; n=$2; s=$3; shift 3; for d in "$@"; do '
    + _EXPAND
    + 'p="$d/$f"; [ -x "$p" ] && [ -O "$p" ] && [ "$(wc -c < "$p")" -eq "$n" ] && '
    + _SAME
    + ' && h=$("$p" --hello 2>/dev/null) || continue; echo "$d/$f"; echo "$h"; exit 0; done; exit 40'
)
_TRY = (
    'chmod 700 "$p" && mv -f "$p" "$d/$f" || { rm -f "$p"; exit 41; }; '
    'h=$("$d/$f" --hello); r=$?; [ $r -eq 0 ] || { rm -f "$d/$f"; echo "status $r"; exit 44; }; '
    'echo "$d/$f"; echo "$h"'
)
_PUT = (
    "d=$1; f=$2; n=$3; s=$4; "
    + _FOLDER
    + 'p="$d/$f.$$.tmp"; true > "$p" || exit 41; cat > "$p" || { rm -f "$p"; exit 42; }; '
    # A lost connection looks like the end of the file.
    + '[ "$(wc -c < "$p")" -eq "$n" ] && '
    + _SAME
    + ' || { rm -f "$p"; exit 43; }; '
    + _TRY
)
_COMPILE = (
    "d=$1; f=$2; shift 2; command -v cc >/dev/null || exit 45; "
    + _FOLDER
    + 'w="$d/$f.$$.src"; mkdir "$w" || exit 41; ( cd "$w" && tar xf - ) || { rm -rf "$w"; exit 42; }; '
    + 'p="$d/$f.$$.tmp"; ( cd "$w" && cc "$@" -o "$p" ); r=$?; rm -rf "$w"; '
    + '[ $r -eq 0 ] || { rm -f "$p"; exit 46; }; '
    + _TRY
)
Reason = Literal["not writable", "no space", "damaged", "noexec", "wrong program"]


@frozen(kw_only=True)
class Installed:
    """The path of the program on the board, and its answer to ``--hello``."""

    path: str
    hello: Hello

    @property
    def lock(self) -> str:
        """The lock file, by which one client at a time measures there."""
        return self.path.rpartition("/")[0] + "/lock"


def install(ssh: Ssh, binary: bytes | None) -> Installed:
    """Return the program on the board, copied there if it was not; ``None``: compiled there by its own ``cc``.

    Raises `DeviceError`, with each folder's reason.
    """
    if binary is None:
        return compile_there(ssh)
    named_by = sha256(binary)
    named = (f"layerbench-{named_by}", str(len(binary)), named_by)
    found = ssh.script(_FIND, *named, *FOLDERS)
    if found.status == 0:
        return _installed(ssh, found)
    return _in_a_folder(ssh, _PUT, named, binary, timeout_s=300)


def compile_there(ssh: Ssh) -> Installed:
    """Return the program, compiled on the board by its own ``cc``: the last resort. Raises `DeviceError`."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for file, content in sources().items():
            entry = tarfile.TarInfo(file)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return _in_a_folder(ssh, _COMPILE, (f"layerbench-cc-{digest()}", *FLAGS, *SOURCES), packed.getvalue(), 600)


def _in_a_folder(ssh: Ssh, script: str, arguments: Sequence[str], content: bytes, timeout_s: float) -> Installed:
    """Run a script that makes the program of ``content`` in the first folder that can hold and run it."""
    name = ssh.target.name
    failed: dict[str, Reason] = {}
    for folder in FOLDERS:
        answer = ssh.script(script, folder, *arguments, stdin=content, timeout_s=timeout_s)
        if answer.status == 0:
            return _installed(ssh, answer)
        if answer.status == 45:
            raise DeviceError(
                f"there is no program for {name}: none was built for this version of hnas, and neither ziglang, nor a "
                "cross compiler here, nor a `cc` there was found",
                hint="pip install 'hnas[arm]' brings a compiler; `apt install gcc` on the device does too",
            )
        if answer.status == 46:
            raise DeviceError(
                f"`cc` on {name} cannot compile the layer runner: {answer.err.strip()[-400:]}",
                hint="pip install 'hnas[arm]' brings a compiler that runs here",
            )
        failed[folder] = _reason(answer)
    size = -(-len(content) // 1000)
    told = (f"{folder.removesuffix('/hnas-')} {_WORDS[why][0].format(size=size)}" for folder, why in failed.items())
    # The user can best mend the folder that is nearest to working.
    first = next(reason for reason in _WORDS if reason in failed.values())
    raise DeviceError(f"{name} has no folder for the layer runner: {'; '.join(told)}", hint=_WORDS[first][1])


def _installed(ssh: Ssh, answer: Answer) -> Installed:
    path, line = ["", "", *answer.out.splitlines()][-2:]  # a login script may have written something before
    hello = Hello.parse(line)
    if hello.protocol != PROTOCOL:
        raise DeviceError(f"the program on {ssh.target.name} speaks protocol {hello.protocol}, this hnas {PROTOCOL}")
    return Installed(path=path, hello=hello)


def _reason(answer: Answer) -> Reason:
    said = answer.out + answer.err
    if "No space left" in said or "Disk quota" in said or "File too large" in said:
        return "no space"
    if answer.status == 43:
        return "damaged"
    if answer.status == 44:
        return "noexec" if "Permission denied" in said or "status 126" in said else "wrong program"
    return "not writable"


_WORDS: dict[Reason, tuple[str, str]] = {
    "no space": (
        "has no space left ({size} kB are needed)",
        "free some space on the device, and run the command again",
    ),
    "noexec": (
        "may not run programs (it is mounted noexec)",
        "make one of them executable on the device: sudo mount -o remount,exec /tmp",
    ),
    "not writable": ("cannot be written", "make one of them writable on the device; it may be mounted read-only"),
    "damaged": ("got another file than was sent", "run the command again; check the device's memory card"),
    "wrong program": (
        "took it, but the program does not run there",
        "the program is for another processor: name one by --set backend.build=armv6",
    ),
}
