"""Measure layers on this machine's processor: one image, one thread, pinned to one core.

Three runtimes, each a device of its own in the cost table, since their latencies differ:

``c`` runs the small C program of `hnas_backends.layerbench`, compiled for this machine at first use: calls have no
overhead, and every result is compared with numpy's. ``torch`` runs PyTorch's modules, overhead of Python included, as
its users deploy them. ``onnxruntime`` runs ONNX graphs, in which a convolution is fused with what follows it: see
`hnas_backends.x86.onnx_runtime` for what a row means there.
"""

from hnas_backends.x86.backend import X86
from hnas_backends.x86.options import X86Options

__all__ = ["X86", "X86Options"]
