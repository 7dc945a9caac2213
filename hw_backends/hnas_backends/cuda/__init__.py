"""Measure layers on an NVIDIA GPU, as PyTorch runs them there.

What is measured. One forward pass of a batch (``batch`` images, 1 by default), in ms, by CUDA events around a loop of
passes. Each operation is a module of its own, nothing is fused. Products are exact float32 ones unless
``precision=tf32``.

Launches. A small layer takes the GPU some 2 µs, and Python 5 to 20 µs to launch it: a loop in Python would measure
Python. So passes are recorded in a CUDA graph and replayed. What cannot be recorded is launched, and named in the
table's record. ``cuda_graphs=false`` times launches too, for a program that makes them.

Caches. ``warm_cache=true`` repeats a layer on the same tensors, which a small one then finds in the L2 cache, as within
a network. ``false`` empties the cache before each pass.

Steadiness. Clocks, temperature, power and the reasons that hold clocks down are asked of ``nvidia-smi`` where it is
there; a GPU that throttles is measured again later. Two GPUs of one model share their rows, since the name and not the
index is what keys a table.
"""

from hnas_backends.cuda.backend import CUDA
from hnas_backends.cuda.options import CUDAOptions

__all__ = ["CUDA", "CUDAOptions"]
