"""Price layers as ScaleSim's weight-stationary "Eyeriss" preset does: 12 x 14 PEs at 200 MHz.

What it is. ScaleSim lowers a convolution to a matrix product and counts the cycles of a systolic array. Its Eyeriss
preset has that chip's 12 x 14 PEs, 3 x 36 kB of SRAM and 200 MHz, but **neither the chip's row-stationary dataflow nor
its register files**: the array is weight-stationary (``ws``), or ``os`` or ``is`` by option. The interface bandwidth is
taken as met (ScaleSim's ``CALC``, the paper's assumption), so that no cycle is spent waiting for DRAM.

What it leaves out. Only convolutions and linear layers are modelled. Pooling, activation, batch normalisation and
biases cost nothing here. A grouped convolution runs its groups one after another, each a layer of its own.

How far to trust it. It ranks layers; it does not predict the chip. Against Chen et al. (JSSC 2017) AlexNet's five
convolutions sum to 23.6 ms here and about 26 ms there, but VGG-16's thirteen to 494 ms here and about 1252 ms there.
Over those 18 layers the rank correlation is 0.949 (``ws``), against 0.937 for plain multiply-accumulates.

Two engines give the same cycles: ``closed-form`` in microseconds, ``scalesim`` by running the simulator with its memory
model, seconds to minutes a layer. Every table is cross-checked against ScaleSim's own compute model on a sample of its
layers, whichever engine made it.
"""

from hnas_backends.eyeriss.backend import Eyeriss
from hnas_backends.eyeriss.options import EyerissOptions

__all__ = ["Eyeriss", "EyerissOptions"]
