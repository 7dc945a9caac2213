"""A layer as hardware sees it: the unit that a cost table is keyed by."""

from __future__ import annotations

from attrs import field, frozen

from hnas.errors import PluginError
from hnas.toolkit.operations import OPERATIONS, misfit

Shape = tuple[int, int, int]
"""Channels, height, width."""


@frozen(kw_only=True, order=True)
class Layer:
    """One operation with its shapes. Two layers with the same `key` cost the same on any device.

    ``op`` is one of `hnas.toolkit.operations.OPERATIONS`, or an operation of your own, which states its ``counts``:
    parameters and multiply-accumulates. Shapes are (channels, height, width) of one image; a linear layer has height
    and width 1. An ``avg_pool`` of kernel 1 is adaptive; in larger windows, zeros beyond the edge are counted, as by
    default in torch. A ``concat`` has the joined shape as input and as output.

    ``reads`` says where the inputs come from: 1 is the output of the layer before, 2 that of the one before it, and so
    on back to the network's input. Without it, `hnas.toolkit.dataflow` derives them. It changes no cost. Raises
    `PluginError` if no layer can be so: torch would have no module of these shapes.
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
    counts: tuple[int, int] | None = None
    reads: tuple[int, ...] = field(default=(), eq=False)

    def __attrs_post_init__(self) -> None:
        window = (self.kernel, self.stride, self.padding, self.dilation)
        counts = self.counts and tuple(self.counts)
        if self.reads and not (isinstance(self.reads, tuple) and all(type(n) is int and n > 0 for n in self.reads)):
            told = f"it reads {self.reads!r}, expected a tuple of places, from 1 for the layer before"
            raise PluginError(f"there is no layer {self.key}: {told}", hint="write reads=(1, 3), or leave it out")
        if why := misfit(self.op, tuple(self.in_shape), tuple(self.out_shape), window, self.groups, counts):
            own = "an operation of your own states its counts=(parameters, multiply-accumulates)"
            sizes = "correct its sizes or its window in the space that made it, or use larger images"
            raise PluginError(f"there is no layer {self.key}: {why}", hint=sizes if self.op in OPERATIONS else own)

    @property
    def key(self) -> str:
        """The key of a row in a cost table, readable and stable: ``conv2d-64x14x14-96x7x7-k3s2p1g1b1``."""
        shapes = "-".join("x".join(map(str, s)) for s in (self.in_shape, self.out_shape))
        spread = f"d{self.dilation}" if self.dilation != 1 else ""  # left out, so that older tables stay valid
        return f"{self.op}-{shapes}-k{self.kernel}s{self.stride}p{self.padding}g{self.groups}b{int(self.bias)}{spread}"

    @property
    def params(self) -> int:
        """Learned parameters: weights and bias of a convolution or linear layer, gamma and beta of a norm."""
        if self.counts:
            return self.counts[0]
        if OPERATIONS[self.op] == "weights":
            weights = self.kernel**2 * self.in_shape[0] // self.groups * self.out_shape[0]
            return weights + (self.out_shape[0] if self.bias else 0)
        return 2 * self.out_shape[0] if self.op == "norm" else 0

    @property
    def macs(self) -> int:
        """Multiply-accumulates for one image; only convolutions and linear layers count, as in the paper."""
        if self.counts or OPERATIONS[self.op] != "weights":
            return self.counts[1] if self.counts else 0
        channels, height, width = self.out_shape
        return self.kernel**2 * self.in_shape[0] // self.groups * channels * height * width
