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
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

import torch

from hnas.home import home

FLAGS = ("-O3", "-fopenmp-simd", "-fno-math-errno", "-fno-trapping-math", "-shared", "-fPIC")
VARIANTS = {torch.float32: (), torch.float64: ("-DDOUBLE", "-O1", "-fno-openmp-simd")}
"""float64 is for checks, so its compilation is made short: 2 s instead of 18."""
_POINTERS = {"norm_forward": 7, "norm_backward": 10, "norm_backward2": 14, "im2col": 2, "col2im": 2}
_INTEGERS = {"norm_forward": 7, "norm_backward": 7, "norm_backward2": 7, "im2col": 9, "col2im": 9}


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
        if multiprocessing.parent_process() is None:  # workers share the driver's fate, and its voice
            detail = str(cause).strip().splitlines()
            print(
                f"hnas: the fast engine cannot be used ({detail[-1] if detail else cause}); training goes on with "
                "plain torch, about half as fast. A C compiler (cc, gcc or clang) makes it work.",
                file=sys.stderr,
            )
        return None


def apply(node: type[torch.autograd.Function], *arguments: Any) -> Any:
    """Apply an autograd node; torch's own ``apply`` is untyped."""
    return node.apply(*arguments)  # type: ignore[no-untyped-call]


def _build(extra: tuple[str, ...]) -> Path:
    compiler = next((p for c in (os.environ.get("CC"), "cc", "gcc", "clang") if c and (p := shutil.which(c))), None)
    if compiler is None:
        raise OSError("no C compiler was found")
    source = files(__package__).joinpath("kernels.c").read_bytes()
    version = subprocess.run([compiler, "--version"], capture_output=True, check=True, timeout=60).stdout
    key = hashlib.sha256(b"\0".join([source, version, _processor(), *(f.encode() for f in FLAGS + extra)])).hexdigest()
    cache = home() / "engine"
    if (found := _cached(cache, key[:20])) is not None:
        return found
    cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cache) as folder:
        code, built = Path(folder, "kernels.c"), Path(folder, "kernels.so")
        code.write_bytes(source)
        for tuning in (["-march=native"], ["-mcpu=native"], []):  # some compilers know only one of them
            command = [compiler, *FLAGS, *extra, *tuning, "-o", str(built), str(code), "-lm"]
            done = subprocess.run(command, capture_output=True, text=True, timeout=300)
            if done.returncode == 0:
                target = cache / f"{key[:20]}-{_digest(built)}.so"
                os.replace(built, target)  # another process may have been faster: either will do
                return target
        raise OSError(f"{compiler} failed: {done.stderr.strip()[-300:]}")


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
    for name, pointers in _POINTERS.items():
        function = getattr(loaded, name)
        eps = [ctypes.c_double] if name == "norm_forward" else []
        function.argtypes = [ctypes.c_void_p] * pointers + [ctypes.c_int] * _INTEGERS[name] + eps
        function.restype = None if name.endswith(("2col", "2im")) else ctypes.c_int
    return loaded


def _processor() -> bytes:
    """Return what tells processors apart that one cache folder may serve (a home on a network): model and features."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    told = {line for line in lines if line.startswith(("model name", "flags", "Features", "CPU part"))}
    return "\n".join([platform.machine(), platform.system(), *sorted(told)]).encode()
