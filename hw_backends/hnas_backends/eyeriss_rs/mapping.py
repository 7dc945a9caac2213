"""The mapping of a layer onto the array: the paper's parameters (JSSC 2017, table II) and what the chip can hold.

Many mappings are handled at once, as one array for each parameter.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Generic, TypeVar

import numpy as np
from attrs import fields, frozen
from numpy.typing import NDArray

from hnas_backends.eyeriss_rs import chip
from hnas_backends.eyeriss_rs.shape import Shape

Counts = NDArray[np.int64]
"""One number for each mapping, shape (mappings,)."""
Flags = NDArray[np.bool_]
Number = TypeVar("Number", int, Counts)


@frozen(kw_only=True)
class Mapping(Generic[Number]):
    """How one layer is cut into processing passes; or many ways to do it, each parameter as an array (mappings,).

    A pass runs ``p * t`` filters over ``q * r`` channels of ``n`` images and gives ``e`` rows of the ofmap. A PE
    interleaves p filters and q channels; the array holds r x t PE sets of R x e PEs, r of them adding up their psums.
    """

    m: Number  # ofmap channels whose psums stay in the buffer
    n: Number  # images of a pass
    e: Number  # ofmap rows of a pass: the width of a PE set
    p: Number  # filters in a PE
    q: Number  # channels in a PE
    r: Number  # PE sets with different channels
    t: Number  # PE sets with different filters

    @classmethod
    def of(cls, mappings: Sequence[Mapping[int]]) -> Mappings:
        return Mapping(**{k: np.array([getattr(x, k) for x in mappings], dtype=np.int64) for k in PARAMETERS})

    def __getitem__(self: Mappings, index: int) -> Mapping[int]:
        return Mapping(**{k: int(getattr(self, k)[index]) for k in PARAMETERS})

    def where(self: Mappings, kept: Flags) -> Mappings:
        return Mapping(**{k: getattr(self, k)[kept] for k in PARAMETERS})


Mappings = Mapping[Counts]
PARAMETERS = tuple(f.name for f in fields(Mapping))


def ceil_div(a: Counts | int, b: Counts | int) -> Counts:
    """Divide, rounding up."""
    return np.asarray(-(-a // b))


def per_row(shape: Shape, e: Counts) -> Counts:
    """Return the ifmap rows that ``e`` rows of the ofmap need; a large stride or dilation jumps over others."""
    return np.minimum((e - 1) * shape.U + (shape.R - 1) * shape.D + 1, e * shape.R)


def buffer_words(shape: Shape, x: Mappings) -> tuple[Counts, Counts]:
    """Return the words of the global buffer that ifmaps and psums take (JSSC 2017, table III)."""
    ifmaps = x.n * x.q * x.r * per_row(shape, x.e) * shape.row_words
    return ifmaps, x.n * x.m * x.e * shape.F


def fits(shape: Shape, x: Mappings) -> Flags:
    """Return which mappings the chip can run: scratch pads, array and global buffer hold them."""
    return fits_spads(shape, p=x.p, q=x.q) & fits_array(shape, e=x.e, r=x.r, t=x.t) & fits_buffer(shape, x)


def fits_spads(shape: Shape, *, p: Counts, q: Counts) -> Flags:
    """Return whether a PE has room for q windows of ifmap rows, p * q rows of weights, and p psums."""
    windows, weights = q * shape.S, p * q * shape.S
    return np.asarray((windows <= chip.IFMAP_SPAD) & (weights <= chip.FILTER_SPAD) & (p <= chip.PSUM_SPAD))


def fits_array(shape: Shape, *, e: Counts, r: Counts, t: Counts) -> Flags:
    """Return which PE sets the array has room for.

    The r sets that add up their psums stand above each other. A set wider than the array is cut into segments of up
    to 14 columns, each on rows of its own (JSSC 2017, figure 5, CONV2).
    """
    slots = chip.ROWS // shape.R  # PE sets above each other
    beside = np.maximum(chip.COLUMNS // e, 1)
    segments = ceil_div(e, chip.COLUMNS)
    return np.asarray(t <= slots // (r * segments) * beside)


def fits_buffer(shape: Shape, x: Mappings) -> Flags:
    """Return whether ifmaps and psums fit into banks of the global buffer, and a pass's filters into their 8 kB."""
    ifmaps, psums = buffer_words(shape, x)
    banks = ceil_div(ifmaps, chip.BANK_WORDS) + ceil_div(psums, chip.BANK_WORDS)
    filters = x.p * x.t * x.q * x.r * shape.R * shape.S
    return np.asarray((banks <= chip.BANKS) & (filters <= chip.FILTER_BUFFER))
