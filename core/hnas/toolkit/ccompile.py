"""Compile C at first use, for this machine, and keep the result in the user's cache."""

from __future__ import annotations

import hashlib
import os
import platform
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Timer
from typing import Literal

from attrs import frozen

from hnas.toolkit.home import home

TUNINGS = (("-march=native",), ("-mcpu=native",), ())
"""Some compilers accept only one of them: the first that works is used."""


class CompileError(Exception):
    """A program was not built: no compiler, one that does not work, runs too long or fails, or an unwritable cache."""

    def __init__(
        self, reason: Literal["missing", "broken", "slow", "failed", "unwritable"], detail: str, compiler: str = ""
    ) -> None:
        super().__init__(f"{compiler} failed: {detail[-300:]}" if reason == "failed" else detail)
        self.reason, self.detail, self.compiler = reason, detail, compiler


@frozen
class Compiler:
    """A C compiler: where it is, and what ``--version`` prints."""

    path: str
    said: str

    @property
    def version(self) -> str:
        """The first line of ``--version``."""
        return self.said.strip().splitlines()[0] if self.said.strip() else "unknown version"


def compiler() -> Compiler:
    """Return the compiler of this machine: ``$CC``, else cc, gcc or clang. Raises `CompileError`."""
    path = next((p for c in (os.environ.get("CC"), "cc", "gcc", "clang") if c and (p := shutil.which(c))), None)
    if path is None:
        raise CompileError("missing", "no C compiler was found")
    try:
        return Compiler(path, _output([path, "--version"], 60))
    except (OSError, subprocess.SubprocessError) as cause:
        raise CompileError("broken", str(cause), path) from cause


def build(
    sources: Mapping[str, bytes],  # by name; headers too
    flags: Sequence[str],
    kind: Literal["shared", "program"],
    cache: str,  # a folder in hnas' home
    compiling: Callable[[], None] = lambda: None,  # called before a compilation, which takes seconds
) -> Path:
    """Return the library or program built from the sources; compile them if the cache does not hold it.

    Raises `CompileError`.
    """
    found = compiler()
    key = cache_key(*sources, *sources.values(), kind, found.path, found.said, _processor(), *flags)
    folder, suffix = home() / cache, ".so" if kind == "shared" else ""
    if (known := cached(folder, key, suffix)) is not None:
        return known
    try:
        folder.mkdir(parents=True, exist_ok=True)
        compiling()
        with tempfile.TemporaryDirectory(dir=folder) as scratch:
            for tuning in TUNINGS:
                try:
                    built = compile_in(Path(scratch), [found.path, *flags, *tuning], sources, kind)
                    break
                except CompileError as error:
                    if error.reason != "failed" or not tuning:
                        raise
            target = folder / f"{key}-{_digest(built)}{suffix}"
            os.replace(built, target)  # another process may have been faster: either will do
            return target
    except OSError as cause:
        raise CompileError("unwritable", str(cause), found.path) from cause


def compile_in(
    folder: Path, command: Sequence[str], sources: Mapping[str, bytes], kind: str = "program", timeout_s: float = 300
) -> Path:
    """Compile in ``folder`` and return the path of the result. Raises `CompileError`.

    Names are relative, so that the result holds no path of this machine. A library's files are compiled in parallel.
    """
    for name, content in sources.items():
        (folder / name).write_bytes(content)

    def run(*arguments: str) -> None:
        try:
            _output([*command, *arguments], timeout_s, folder)
        except subprocess.CalledProcessError as cause:
            raise CompileError("failed", cause.output.strip(), command[0]) from cause
        except (OSError, subprocess.TimeoutExpired) as cause:
            raise CompileError("broken" if isinstance(cause, OSError) else "slow", str(cause), command[0]) from cause

    code = [name for name in sources if name.endswith(".c")]
    if kind == "shared":
        objects = [f"{name}.o" for name in code]
        with ThreadPoolExecutor(len(code)) as side_by_side:
            list(side_by_side.map(lambda name, out: run("-c", name, "-o", out), code, objects))
        run("-shared", *objects, "-o", "built", "-lm")
    else:
        run("-o", "built", *code)
    return folder / "built"


def _output(command: Sequence[str], timeout_s: float, folder: Path | None = None) -> str:
    """Run a compiler and return what it wrote; one that writes without end, ends when its pipe is closed."""
    with subprocess.Popen(
        command, cwd=folder, stdin=subprocess.DEVNULL, stdout=-1, stderr=subprocess.STDOUT, errors="replace"
    ) as process:
        late = Timer(timeout_s, process.kill)
        late.start()
        said = process.stdout.read(1 << 20)  # type: ignore[union-attr]
        process.stdout.close()  # type: ignore[union-attr]
        status, slow = process.wait(), not late.is_alive()
        late.cancel()
    if slow:
        raise subprocess.TimeoutExpired(command, timeout_s)
    if status:
        raise subprocess.CalledProcessError(status, command, said)
    return said


def cache_key(*parts: str | bytes) -> str:
    """Return the key of a build: 20 hex digits over everything that it depends on."""
    return hashlib.sha256(b"\0".join(p.encode() if isinstance(p, str) else p for p in parts)).hexdigest()[:20]


def cached(folder: Path, key: str, suffix: str = "") -> Path | None:
    """Return an earlier build, or ``None``. Its name holds the digest of its content.

    A build truncated by a power cut or a full disk is deleted: loading it could kill the process (SIGBUS).
    """
    for found in sorted(folder.glob(f"{key}-*{suffix}")):
        if found.name == f"{key}-{_digest(found)}{suffix}":
            return found
        found.unlink(missing_ok=True)
    return None


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()[:20]


def _processor() -> str:
    """Return model and features of the processor, since different ones may share a cache folder (a network home)."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    told = {line for line in lines if line.startswith(("model name", "flags", "Features", "CPU part"))}
    return "\n".join([platform.machine(), platform.system(), platform.processor(), *sorted(told)])
