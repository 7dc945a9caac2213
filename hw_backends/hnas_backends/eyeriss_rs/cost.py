"""The cost of a mapping: words moved at each level, cycles, and energy."""

from __future__ import annotations

import numpy as np
from attrs import frozen

from hnas_backends.eyeriss_rs import chip
from hnas_backends.eyeriss_rs.mapping import Counts, Mappings, ceil_div, per_row
from hnas_backends.eyeriss_rs.shape import Shape


@frozen(kw_only=True)
class Traffic:
    """Words moved for the whole group and batch, for each mapping. Nothing is compressed, no zero is skipped."""

    spad: Counts
    """Scratch pads: each MAC reads an ifmap value, a weight and a psum, and writes the psum."""
    array: Counts
    """Ifmap values and weights as they arrive at PEs, and psums passed from PE to PE."""
    buffer: Counts
    """The global buffer, counted as the chip's tables V and VI do: ifmaps read, psums read and written."""
    fmaps: Counts
    """DRAM, ifmaps read and ofmaps written."""
    filters: Counts
    """DRAM, weights read."""


def traffic(shape: Shape, x: Mappings) -> Traffic:
    """Count the words that move at each level.

    In the order of JSSC 2017, figure 7: for each n images, m filters and strip of e rows, all channels by q * r, and
    for each of those all of the m filters by p * t. So psums never leave the chip, an ifmap is read from DRAM once for
    each m filters, and weights once for each strip and n images.
    """
    s = shape
    strips, turns = ceil_div(s.E, x.e), ceil_div(s.N, x.n)
    channel_passes, filter_passes = ceil_div(s.channels, x.q * x.r), ceil_div(s.M, x.p * x.t)

    held_rows = (strips - 1) * per_row(s, x.e) + per_row(s, s.E - (strips - 1) * x.e)
    buffer_ifmaps = s.N * s.channels * held_rows * s.row_words * filter_passes
    weights = s.M * s.channels * s.R * s.S

    ifmaps_to_pes = s.N * s.channels * s.E * s.R * s.row_words * ceil_div(s.M, x.p)
    weights_to_pes = weights * s.E * turns
    psum_hops = s.psums * (ceil_div(s.channels, x.q) * s.R - channel_passes)

    stored = np.zeros(s.E + 1, dtype=np.int64)
    for e in np.flatnonzero(np.bincount(x.e, minlength=s.E + 1)):
        stored[e] = s.stored_rows(int(e))
    dram_ifmaps = s.N * s.channels * stored[x.e] * s.width * ceil_div(s.M, x.m)
    return Traffic(
        spad=np.full_like(strips, 4 * s.macs),
        array=ifmaps_to_pes + weights_to_pes + psum_hops,
        buffer=buffer_ifmaps + 2 * s.psums * channel_passes,
        fmaps=dram_ifmaps + s.psums,
        filters=weights * strips * turns,
    )


def energy(shape: Shape, words: Traffic) -> Counts:
    """Return the energy in units of one MAC: each MAC and each word moved at its normalised cost (ISCA 2016)."""
    return (
        chip.MAC_ENERGY * shape.macs
        + chip.RF_ENERGY * words.spad
        + chip.ARRAY_ENERGY * words.array
        + chip.BUFFER_ENERGY * words.buffer
        + chip.DRAM_ENERGY * (words.fmaps + words.filters)
    )


def passes(shape: Shape, x: Mappings) -> Counts:
    """Return how many processing passes the group and batch take."""
    turns = ceil_div(shape.N, x.n) * ceil_div(shape.E, x.e)
    return turns * ceil_div(shape.M, x.p * x.t) * ceil_div(shape.channels, x.q * x.r)


def pass_cycles(shape: Shape, x: Mappings) -> Counts:
    """Return the core cycles of one full pass that never waits for DRAM.

    A pass computes, reads ifmaps and moves psums both ways at the same time, each over a bus of its own; the slowest
    decides. Before that come the weights, which stay in the scratch pads, and the first window of each ifmap row: the
    ramp-up that section VI-A names. A last, partial pass takes as long as a full one.
    """
    s = shape
    filters, channels, rows = x.p * x.t, x.q * x.r, per_row(s, x.e)
    compute = x.n * x.p * x.q * s.S * s.F
    ifmaps = ceil_div(x.n * channels * rows * s.row_words, chip.IFMAP_BUS)
    psums = ceil_div(x.n * filters * x.e * s.F, chip.PSUM_BUS)
    ramp_up = ceil_div(filters * channels * s.R * s.S, chip.FILTER_BUS) + channels * rows * s.S
    return np.asarray(np.maximum(np.maximum(compute, ifmaps), psums) + ramp_up)


def processing_cycles(shape: Shape, x: Mappings) -> Counts:
    """Return the core cycles if all DRAM traffic is overlapped: the chip's published *processing latency*."""
    return passes(shape, x) * pass_cycles(shape, x)


def total_cycles(shape: Shape, x: Mappings, words: Traffic, link_words: float) -> Counts:
    """Return the core cycles with the DRAM link at ``link_words`` a core cycle: the chip's *total latency*.

    Weights of the next pass arrive during a pass, which waits if they take longer. The array is idle while fmaps are
    read or written (section VI-A). Fmaps are not compressed here; on the chip they are.
    """
    weights = np.ceil(x.p * x.t * x.q * x.r * shape.R * shape.S / link_words).astype(np.int64)
    fmaps = np.ceil(words.fmaps / link_words).astype(np.int64)
    return passes(shape, x) * np.maximum(pass_cycles(shape, x), weights) + fmaps
