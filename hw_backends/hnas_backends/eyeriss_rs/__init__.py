"""Price layers as the row-stationary Eyeriss chip: an analytic model from the published design, latency and energy.

Chen, Krishna, Emer, Sze (JSSC 52(1), 2017; ISCA 2016): 12 x 14 PEs with scratch pads of 12, 224 and 24 words, a 108 kB
global buffer, 16-bit words, 200 MHz. For each layer all legal mappings of the row-stationary dataflow are searched, in
the paper's parameters m, n, e, p, q, r, t; the best one is priced. No constant is fitted to the chip's measured times.
`eyeriss` is another model, ScaleSim's systolic array, and their costs are not comparable.

It ranks layers: AlexNet takes 8 % more time than on the chip, but VGG-16 50 % less, by better mappings than those of
its designers. Pooling, activation, normalisation and biases are free, and nothing is compressed, so DRAM traffic is an
upper estimate. ``docs/eyeriss-rs.md`` says what else is left out, and how far off it is.
"""

from hnas_backends.eyeriss_rs.backend import EyerissRS, EyerissRSOptions

__all__ = ["EyerissRS", "EyerissRSOptions"]
