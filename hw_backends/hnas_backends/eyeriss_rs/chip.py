"""The chip's published numbers: Chen, Krishna, Emer, Sze, "Eyeriss", JSSC 52(1), 2017; energies from ISCA 2016.

None of them is fitted. Words are 16 bits, sizes are in words unless their name says bytes.
"""

from __future__ import annotations

ROWS, COLUMNS = 12, 14
"""The array: 168 processing elements (section III-A)."""

IFMAP_SPAD, FILTER_SPAD, PSUM_SPAD = 12, 224, 24
"""The scratch pads of one PE (section IV-A)."""

WORD_BYTES = 2
BANKS, BANK_WORDS = 25, 4096 // WORD_BYTES
"""100 kB of the 108 kB global buffer: 25 banks of 4 kB, each given wholly to ifmaps or to psums (section V-A)."""
FILTER_BUFFER = 8192 // WORD_BYTES
"""The other 8 kB: the filters of the next pass are loaded into it during this one (section V-A)."""

FILTER_BUS, PSUM_BUS, IFMAP_BUS = 4, 4, 1
"""Words a cycle between buffer and array: 64, 64 and 16 bits; psums have one such bus each way (section V-B)."""

LINK_BUS = 4
"""Words a link cycle between DRAM and chip: a 64-bit bus for both directions (section III-A)."""
CLOCK_MHZ, LINK_MHZ = 200.0, 60.0
"""The clocks of core and link in the measurements (tables V and VI)."""

MAC_ENERGY, RF_ENERGY, ARRAY_ENERGY, BUFFER_ENERGY, DRAM_ENERGY = 1, 1, 2, 6, 200
"""Energy of a MAC, and of a word from scratch pad, inter-PE network, buffer and DRAM, in MACs (ISCA 2016, table IV)."""
