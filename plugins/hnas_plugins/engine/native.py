"""The C kernels: compiled at first use, kept in the user's cache, and done without where that is not possible."""

from __future__ import annotations

import ctypes
import hashlib
import multiprocessing
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

import torch

from hnas.toolkit.home import home

FLAGS = ("-O3", "-fopenmp-simd", "-fno-math-errno", "-fno-trapping-math", "-fPIC")
VARIANTS = {torch.float32: (), torch.float64: ("-DDOUBLE", "-O1", "-fno-openmp-simd")}
"""float64 is for checks, so its compilation is made short."""
SOURCES = ("norm.c", "norm2.c", "products.c", "residual.c", "descent.c")
HEADERS = ("kernels.h", "activations.h", "norm.h", "tile.h")
_P, _I, _L = ctypes.c_void_p, ctypes.c_int, ctypes.c_long
_ARGUMENTS: dict[str, list[Any]] = {
    "norm_forward": [_P] * 7 + [_I] * 7 + [ctypes.c_double],
    "norm_backward": [_P] * 10 + [_I] * 7,
    "norm_backward2": [_P] * 14 + [_I] * 7,
    "conv_forward": [_P] * 3 + [_I] * 10 + [_L] * 5,
    "conv_data": [_P] * 3 + [_I] * 10 + [_L] * 5,
    "conv_weight": [_P] * 3 + [_I] * 10,
    "descend": [_P] * 3 + [_I] * 5 + [_P] * 4 + [_I] + [_P] * 2 + [ctypes.c_double],
}


@cache
def library(dtype: torch.dtype) -> ctypes.CDLL | None:
    """Return the kernels for float32 or float64, or ``None`` where they cannot be had; that is said once.

    ``HNAS_ENGINE=plain`` switches them off. Calls release Python's global lock.
    """
    if os.environ.get("HNAS_ENGINE") == "plain" or dtype not in VARIANTS:
        return None
    try:
        return _load(_build(VARIANTS[dtype]))
    except (OSError, subprocess.SubprocessError) as cause:
        detail = str(cause).strip().splitlines()
        _tell(
            f"the fast engine cannot be used ({detail[-1] if detail else cause}); training goes on with plain torch, "
            "about half as fast. A C compiler (cc, gcc or clang) makes it work."
        )
        return None


def apply(node: type[torch.autograd.Function], *arguments: Any) -> Any:
    """Apply an autograd node; torch's own ``apply`` is untyped."""
    return node.apply(*arguments)  # type: ignore[no-untyped-call]


def _tell(text: str) -> None:
    """Say something once: workers share the driver's fate, and its voice."""
    if multiprocessing.parent_process() is None:
        print(f"hnas: {text}", file=sys.stderr)


def _build(extra: tuple[str, ...]) -> Path:
    compiler = next((p for c in (os.environ.get("CC"), "cc", "gcc", "clang") if c and (p := shutil.which(c))), None)
    if compiler is None:
        raise OSError("no C compiler was found")
    sources = {name: files(__package__).joinpath(name).read_bytes() for name in SOURCES + HEADERS}
    version = subprocess.run([compiler, "--version"], capture_output=True, check=True, timeout=60).stdout
    key = hashlib.sha256(
        b"\0".join([*sources.values(), version, _processor(), *(f.encode() for f in FLAGS + extra)])
    ).hexdigest()
    cache = home() / "engine"
    if (found := _cached(cache, key[:20])) is not None:
        return found
    cache.mkdir(parents=True, exist_ok=True)
    _tell("compiling the fast engine for this machine, once; some ten seconds")
    with tempfile.TemporaryDirectory(dir=cache) as folder:
        built = Path(folder, "kernels.so")
        for name, content in sources.items():
            Path(folder, name).write_bytes(content)
        for tuning in (["-march=native"], ["-mcpu=native"], []):  # some compilers know only one of them
            done = _compile([compiler, *FLAGS, *extra, *tuning], Path(folder), built)
            if done.returncode == 0:
                target = cache / f"{key[:20]}-{_digest(built)}.so"
                os.replace(built, target)  # another process may have been faster: either will do
                return target
        raise OSError(f"{compiler} failed: {done.stderr.strip()[-300:]}")


def _compile(command: list[str], folder: Path, built: Path) -> subprocess.CompletedProcess[str]:
    """Compile the sources side by side and link them; return the first step that failed, or the last one."""

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([*command, *arguments], capture_output=True, text=True, timeout=300)

    objects = [str(folder / f"{name}.o") for name in SOURCES]
    with ThreadPoolExecutor(len(SOURCES)) as side_by_side:
        steps = side_by_side.map(lambda name, out: run("-c", str(folder / name), "-o", out), SOURCES, objects)
        failed = [step for step in steps if step.returncode]
    return failed[0] if failed else run("-shared", *objects, "-o", str(built), "-lm")


def _cached(cache: Path, key: str) -> Path | None:
    """Return the library of an earlier build. Its name holds the digest of its content.

    One that a power cut or a full disk cut short is deleted: to load it could kill the process (SIGBUS).
    """
    for found in sorted(cache.glob(f"{key}-*.so")):
        if found.stem == f"{key}-{_digest(found)}":
            return found
        found.unlink(missing_ok=True)
    return None


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()[:20]


def _load(path: Path) -> ctypes.CDLL:
    loaded = ctypes.CDLL(str(path))
    for name, arguments in _ARGUMENTS.items():
        getattr(loaded, name).argtypes = arguments
    return loaded


def _processor() -> bytes:
    """Return what tells processors apart that one cache folder may serve (a home on a network): model and features."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    told = {line for line in lines if line.startswith(("model name", "flags", "Features", "CPU part"))}
    return "\n".join([platform.machine(), platform.system(), *sorted(told)]).encode()
