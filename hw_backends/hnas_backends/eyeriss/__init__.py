"""Price layers as ScaleSim's weight-stationary "Eyeriss" preset does: 12 x 14 PEs at 200 MHz.

ScaleSim lowers a convolution to a matrix product and counts the cycles of a systolic array. Its Eyeriss preset has
**neither the chip's row-stationary dataflow nor its register files**. The array is weight-stationary (``ws``), or
``os`` or ``is`` by option. The interface bandwidth is taken as met (ScaleSim's ``CALC``, the paper's assumption), so no
cycle is spent waiting for DRAM. Only convolutions and linear layers cost anything; a grouped convolution runs its
groups one after another. It ranks layers and does not predict the chip: ``docs/eyeriss.md`` compares them.

Two engines give the same cycles: ``closed-form`` in microseconds, ``scalesim`` by running the simulator with its memory
model, seconds to minutes a layer. Every table is cross-checked against ScaleSim's own compute model on a sample of its
layers, whichever engine made it.
"""

from hnas_backends.eyeriss.backend import Eyeriss
from hnas_backends.eyeriss.options import EyerissOptions

__all__ = ["Eyeriss", "EyerissOptions"]
