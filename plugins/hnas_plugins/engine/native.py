"""The C kernels: compiled at first use and kept in the user's cache; plain torch runs if that is not possible."""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import sys
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

import torch

from hnas.toolkit.ccompile import CompileError, build

FLAGS = ("-O3", "-fopenmp-simd", "-fno-math-errno", "-fno-trapping-math", "-fPIC")
VARIANTS = {torch.float32: (), torch.float64: ("-DDOUBLE", "-O1", "-fno-openmp-simd")}
"""float64 is for checks, so its compilation is made short."""
SOURCES = ("norm.c", "norm2.c", "products.c", "residual.c", "descent.c", "sums.c")
HEADERS = ("kernels.h", "activations.h", "norm.h", "tile.h")
_P, _I, _L = ctypes.c_void_p, ctypes.c_int, ctypes.c_long
_ARGUMENTS: dict[str, list[Any]] = {
    "norm_forward": [_P] * 7 + [_I] * 7 + [ctypes.c_double],
    "norm_backward": [_P] * 10 + [_I] * 7,
    "norm_backward2": [_P] * 14 + [_I] * 7,
    "conv_forward": [_P] * 3 + [_I] * 10 + [_L] * 5,
    "conv_data": [_P] * 3 + [_I] * 10 + [_L] * 5,
    "conv_weight": [_P] * 3 + [_I] * 10,
    "exact_sum": [_P] * 2 + [_I, _L, ctypes.c_double],
    "descend": [_P] * 3 + [_I] * 5 + [_P] * 4 + [_I] + [_P] * 2 + [ctypes.c_double],
}


@cache
def library(dtype: torch.dtype) -> ctypes.CDLL | None:
    """Return the kernels for float32 or float64, or ``None`` with one warning if they cannot be built.

    ``HNAS_ENGINE=plain`` switches them off. Calls release Python's global lock.
    """
    if os.environ.get("HNAS_ENGINE") == "plain" or dtype not in VARIANTS:
        return None
    sources = {name: files(__package__).joinpath(name).read_bytes() for name in SOURCES + HEADERS}
    try:
        return _load(build(sources, FLAGS + VARIANTS[dtype], "shared", "engine", _compiling))
    except (OSError, CompileError) as cause:
        detail = str(cause).strip().splitlines()
        _tell(
            f"the fast engine cannot be used ({detail[-1] if detail else cause}); training goes on with plain torch, "
            "about half as fast. A C compiler (cc, gcc or clang) makes it work."
        )
        return None


def apply(node: type[torch.autograd.Function], *arguments: Any) -> Any:
    """Apply an autograd node; torch's own ``apply`` is untyped."""
    return node.apply(*arguments)  # type: ignore[no-untyped-call]


def _compiling() -> None:
    _tell("compiling the fast engine for this machine, once; some ten seconds")


def _tell(text: str) -> None:
    """Print a message once, from the driver only: its workers are in the same situation."""
    if multiprocessing.parent_process() is None:
        print(f"hnas: {text}", file=sys.stderr)


def _load(path: Path) -> ctypes.CDLL:
    loaded = ctypes.CDLL(str(path))
    for name, arguments in _ARGUMENTS.items():
        getattr(loaded, name).argtypes = arguments
    return loaded
