"""Price layers as the row-stationary Eyeriss chip: an analytic model from the published design, latency and energy.

What it is. Chen, Krishna, Emer, Sze (JSSC 52(1), 2017; ISCA 2016): 12 x 14 PEs with scratch pads of 12, 224 and 24
words, a 108 kB global buffer, 16-bit words, 200 MHz. For each layer all legal mappings of the row-stationary dataflow
are searched, in the paper's parameters m, n, e, p, q, r, t; the best one is priced. No constant is fitted to the chip's
measured times. `eyeriss` is another model, ScaleSim's systolic array, and their costs are not comparable.

How far to trust it. With the chip's own published mappings of AlexNet the processing latencies are within 6 % (sum:
2 % less) and four of five buffer traffics equal to the last published digit. With the mappings that it finds itself
(least energy times delay, the default) AlexNet runs at 32.0 frame/s where the chip does 34.7 (batch 4: 8 % more time),
but VGG-16 at 1.40 where the chip does 0.70 (batch 3: 50 % less time): it finds far better mappings for VGG-16's large
maps than the chip's designers used. It ranks the 18 layers with a correlation of 0.964 (plain MACs 0.879).

What it leaves out. Pooling, activation, normalisation and biases are free. Nothing is compressed and no zero skipped,
both of which the chip does; so DRAM traffic is an upper estimate. Setting the chip up for a layer (less than 0.1 ms as
published) and leakage cost nothing here. A grouped convolution runs its groups one after another.
"""

from hnas_backends.eyeriss_rs.backend import EyerissRS, EyerissRSOptions

__all__ = ["EyerissRS", "EyerissRSOptions"]
