"""The fast path of the built-in super-nets on a CPU: fused nodes, and convolutions chosen by size.

Tensors are channels-last with tasks first, (T, N, H, W, C), and weights (T, O, k, k, C). Everything here agrees with
the plain blocks in `hnas_plugins.spaces.blocks.plain`, which stay the reference, and the path for other devices.
"""
