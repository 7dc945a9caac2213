"""The search for the best mapping of a layer, over all that the chip can run."""

from __future__ import annotations

from functools import lru_cache
from typing import Literal

import numpy as np
from attrs import evolve, frozen

from hnas import DeviceError
from hnas_backends.eyeriss_rs import chip, cost
from hnas_backends.eyeriss_rs.mapping import (
    Counts,
    Flags,
    Mapping,
    Mappings,
    buffer_words,
    ceil_div,
    fits_array,
    fits_buffer,
    fits_spads,
)
from hnas_backends.eyeriss_rs.shape import Shape

Goal = Literal["energy-delay", "energy", "latency"]


@frozen(kw_only=True)
class Best:
    """The best mapping of a group and batch, and its cost."""

    mapping: Mapping[int]
    energy: int  # in MACs
    cycles: int  # core clock


@lru_cache(maxsize=4096)
def best(shape: Shape, goal: Goal, link_words: float) -> Best:
    """Find the mapping of least energy, of fewest cycles, or of the least product of both (``energy-delay``).

    Between equals the other quantity decides, then the first found. ``link_words`` are words of the DRAM link per core
    cycle; 0: DRAM traffic is overlapped. Raises `DeviceError` if nothing fits the chip.
    """
    x = candidates(shape)
    if len(x.p) == 0:
        raise DeviceError(
            f"eyeriss-rs: no mapping of {shape} fits the chip: one row of its maps, with a batch of one, takes more "
            f"than the global buffer's {chip.BANKS} banks of 4 kB",
            hint="use smaller images",
        )
    words = cost.traffic(shape, x)
    energy = cost.energy(shape, words)
    cycles = cost.total_cycles(shape, x, words, link_words) if link_words else cost.processing_cycles(shape, x)
    product = energy.astype(np.float64) * cycles.astype(np.float64)
    first, second = {"energy-delay": (product, energy), "energy": (energy, cycles), "latency": (cycles, energy)}[goal]
    equals = np.flatnonzero(first == first.min())
    index = int(equals[second[equals].argmin()])
    return Best(mapping=x[index], energy=int(energy[index]), cycles=int(cycles[index]))


def candidates(shape: Shape) -> Mappings:
    """Return the legal mappings that can be best.

    If several values of a parameter cut its dimension into the same number of parts, the smallest costs least: it takes
    less of each memory and never more passes. m is as large as the buffer allows: that costs nothing else and saves
    reading ifmaps again.
    """
    s = shape
    filters, channels = _sizes(s.M, chip.PSUM_SPAD), _sizes(s.channels, chip.IFMAP_SPAD // s.S)
    p, q = (axis.ravel() for axis in np.meshgrid(filters, channels, indexing="ij"))
    spads = fits_spads(s, p=p, q=q)
    p, q = p[spads, None], q[spads, None]

    slots = chip.ROWS // s.R
    rows = _sizes(s.E, min(s.E, slots * chip.COLUMNS))
    sets = np.arange(1, min(s.M, slots * chip.COLUMNS) + 1)
    e, r, t = (axis.ravel() for axis in np.meshgrid(rows, np.arange(1, slots + 1), sets, indexing="ij"))
    array = fits_array(s, e=e, r=r, t=t)
    e, r, t = e[array], r[array], t[array]

    pe, sets_of = np.nonzero(_smallest(s.M, p, t) & _smallest(s.channels, q, r))
    p, q, e, r, t = p[pe, 0], q[pe, 0], e[sets_of], r[sets_of], t[sets_of]
    images = _sizes(s.N, s.N)
    n = np.repeat(images, len(p))
    p, q, e, r, t = (np.tile(axis, len(images)) for axis in (p, q, e, r, t))
    return _fill_buffer(s, Mappings(m=p * t, n=n, e=e, p=p, q=q, r=r, t=t))


def _sizes(total: int, limit: int) -> Counts:
    """Return the smallest size for each number of parts that ``total`` can be cut into, none above ``limit``."""
    sizes = np.arange(1, min(total, limit) + 1, dtype=np.int64)
    return np.asarray(sizes[sizes == ceil_div(total, ceil_div(total, sizes))])


def _smallest(total: int, inner: Counts, outer: Counts) -> Flags:
    """Return whether ``outer``, shape (b,), is in `_sizes` of the part of ``total`` that ``inner``, (a, 1), leaves."""
    values, index = np.unique(ceil_div(total, inner), return_inverse=True)
    left = values[:, None]
    return np.asarray((outer == ceil_div(left, ceil_div(left, outer)))[index.ravel()])


def _fill_buffer(shape: Shape, x: Mappings) -> Mappings:
    """Keep as many filters in the buffer as the banks left by the ifmaps hold, in multiples of p * t."""
    x = x.where(fits_buffer(shape, x))
    ifmaps, _ = buffer_words(shape, x)
    room = (chip.BANKS - ceil_div(ifmaps, chip.BANK_WORDS)) * chip.BANK_WORDS
    step = x.p * x.t
    times = np.minimum(room // (x.n * step * x.e * shape.F), ceil_div(shape.M, step))
    return evolve(x, m=step * times)
