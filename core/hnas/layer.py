"""A layer as hardware sees it: the unit that a cost table is keyed by."""

from __future__ import annotations

from attrs import field, frozen

Shape = tuple[int, int, int]
"""Channels, height, width."""


@frozen(kw_only=True, order=True)
class Layer:
    """One operation with its shapes. Two layers with the same `key` cost the same on any device.

    ``op`` is one of ``conv2d``, ``linear``, ``norm`` (batch normalisation), ``max_pool``, ``avg_pool``, ``add``,
    ``concat`` or an activation's name. Shapes are (channels, height, width) of one image; a linear layer has height and
    width 1. An ``avg_pool`` of kernel 1 is adaptive; in larger windows, zeros beyond the edge are counted, as by default
    in torch. A ``concat`` has the joined shape as input and as output.

    ``reads`` says where the inputs come from: 1 is the output of the layer before, 2 that of the one before it, and so
    on back to the network's input. Without it, `hnas.toolkit.dataflow` derives them. It changes no cost.
    """

    op: str
    in_shape: Shape
    out_shape: Shape
    kernel: int = 1
    stride: int = 1
    padding: int = 0
    groups: int = 1
    bias: bool = False
    dilation: int = 1
    reads: tuple[int, ...] = field(default=(), eq=False)

    @property
    def key(self) -> str:
        """The key of a row in a cost table, readable and stable: ``conv2d-64x14x14-96x7x7-k3s2p1g1b1``."""
        shapes = "-".join("x".join(map(str, s)) for s in (self.in_shape, self.out_shape))
        spread = f"d{self.dilation}" if self.dilation != 1 else ""  # left out, so that older tables stay valid
        return f"{self.op}-{shapes}-k{self.kernel}s{self.stride}p{self.padding}g{self.groups}b{int(self.bias)}{spread}"

    @property
    def params(self) -> int:
        """Learned parameters: weights and bias of a convolution or linear layer, gamma and beta of a norm."""
        if self.op in ("conv2d", "linear"):
            weights = self.kernel**2 * self.in_shape[0] // self.groups * self.out_shape[0]
            return weights + (self.out_shape[0] if self.bias else 0)
        return 2 * self.out_shape[0] if self.op == "norm" else 0

    @property
    def macs(self) -> int:
        """Multiply-accumulates for one image; only convolutions and linear layers count, as in the paper."""
        if self.op not in ("conv2d", "linear"):
            return 0
        channels, height, width = self.out_shape
        return self.kernel**2 * self.in_shape[0] // self.groups * channels * height * width
