"""A layer in the paper's notation (JSSC 2017, table I)."""

from __future__ import annotations

from attrs import frozen

from hnas import DeviceError, Layer
from hnas_backends.eyeriss_rs import chip

OPS = frozenset({"conv2d", "linear"})


@frozen(kw_only=True)
class Shape:
    """One group of a convolution, for a batch; a linear layer is a 1 x 1 convolution of one pixel.

    Names are those of the paper: N images, M filters, C channels, R x S kernel, E x F outputs, stride U. D is the
    dilation, which the paper does not have: a PE takes the columns of a row one phase after another, so its scratch pad
    holds S words of a channel as without; a set of PEs reads rows D apart.
    """

    N: int
    M: int
    C: int
    R: int
    S: int
    E: int
    F: int
    U: int
    height: int
    """Rows of the ifmap as it lies in DRAM, without padding."""
    width: int
    padding: int
    D: int = 1
    pieces: int = 1
    """How many pieces of R x S a kernel too large for the array is cut into; they count as further channels."""

    @property
    def channels(self) -> int:
        """Channels whose psums are added, pieces of kernels included."""
        return self.C * self.pieces

    @property
    def row_words(self) -> int:
        """Words of an ifmap row that a PE walks along, padding included."""
        return (self.F - 1) * self.U + (self.S - 1) * self.D + 1

    @property
    def psums(self) -> int:
        """Words of all ofmaps."""
        return self.N * self.M * self.E * self.F

    @property
    def macs(self) -> int:
        """Multiply-accumulates of the group and batch, with the pieces of large kernels rounded up."""
        return self.psums * self.channels * self.R * self.S

    def stored_rows(self, e: int) -> int:
        """Rows read from DRAM in one sweep over the ifmap by strips of ``e`` ofmap rows, with their overlaps."""
        total = 0
        for first in range(0, self.E, e):
            rows = min(e, self.E - first)
            if self.D > 1:
                read = {y * self.U + r * self.D for y in range(first, first + rows) for r in range(self.R)}
                total += sum(0 <= y - self.padding < self.height for y in read)
                continue
            begin = first * self.U - self.padding
            end = begin + (rows - 1) * self.U + self.R
            held = max(0, min(end, self.height) - max(begin, 0))
            total += min(held, rows * self.R)
        return total


def shape_of(layer: Layer, batch: int) -> Shape:
    """Return one group of a layer. Raises `DeviceError` for an operation that the chip's array does not do.

    A kernel of more than 12 rows or columns, which the chip itself refuses, is cut into equal pieces that fit.
    """
    if layer.op not in OPS:
        raise DeviceError(
            f"eyeriss-rs cannot price the operation {layer.op!r} ({layer.key}): it models conv2d and linear only",
            hint="other operations are free on this backend; leave them out",
        )
    channels, height, width = layer.out_shape
    pieces = -(-layer.kernel // min(chip.ROWS, chip.IFMAP_SPAD))
    kernel = -(-layer.kernel // pieces)
    return Shape(
        N=batch,
        M=channels // layer.groups,
        C=layer.in_shape[0] // layer.groups,
        R=kernel,
        S=kernel,
        E=height,
        F=width,
        U=layer.stride,
        D=layer.dilation,
        height=layer.in_shape[1],
        width=layer.in_shape[2],
        padding=layer.padding,
        pieces=pieces**2,
    )
