"""Measure layers on an NVIDIA GPU, as PyTorch runs them there: one forward pass of a batch, in ms, by CUDA events.

Each operation is a module of its own, nothing is fused. A small layer takes the GPU some 2 µs, and Python 5 to 20 µs to
launch it, so passes are recorded in a CUDA graph and replayed; what cannot be recorded is launched, and named in the
table's record. Clocks and what holds them down are asked of ``nvidia-smi``: a GPU that throttles is measured again.
Two GPUs of one model share their rows, since the name and not the index keys a table. More: ``docs/cuda.md``.
"""

from hnas_backends.cuda.backend import CUDA
from hnas_backends.cuda.options import CUDAOptions

__all__ = ["CUDA", "CUDAOptions"]
