"""Build the arrays of numbers that a pickle describes, as numpy 1 and 2 write them, and no others."""

from __future__ import annotations

import re
from typing import Any

import numpy as np

_NUMBERS = re.compile(r"b1|[iu][1248]|f[248]")


class Refused(Exception):
    """A pickle asks for something that is not built."""


def type_code(code: Any) -> str:
    """Return numpy's code of a type of numbers as it is."""
    if not isinstance(code, str) or not _NUMBERS.fullmatch(code):
        raise Refused(f"an array of type {code!r}"[:80])
    return code


def data_type(code: str, state: tuple[Any, ...]) -> np.dtype[Any]:
    """Give a type the byte order of its state: (version, order, subtype, names, fields, size, alignment, …)."""
    order, *parts = state[1:5]
    if order not in ("<", ">", "|", "=") or parts != [None, None, None]:
        raise Refused("an array of records")
    dtype: np.dtype[Any] = np.dtype(order + code)
    return dtype


def array(version: Any, shape: Any, dtype: Any, fortran: Any, content: Any) -> Any:
    """Return the array that a state of numpy's ``ndarray`` describes."""
    if version != 1 or not isinstance(dtype, np.dtype):
        raise Refused("an array in an unusual form")
    if isinstance(content, str):
        content = content.encode("latin-1")
    return from_buffer(content, dtype, shape, "F" if fortran else "C")


def from_buffer(content: Any, dtype: Any, shape: Any, order: Any, axes: Any = None) -> Any:
    """Return an array over ``content``, which must have exactly its size. ``axes`` are numpy 2's, with order "K"."""
    if not isinstance(dtype, np.dtype) or not isinstance(content, bytes | bytearray | memoryview):
        raise Refused(f"an array whose content is {type(content).__name__}")
    flat = np.frombuffer(content, dtype)
    flat.flags.writeable = False
    if order == "K" and axes is not None:
        return flat.reshape(shape).transpose(axes)
    return flat.reshape(shape, order=order)
