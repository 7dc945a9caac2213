"""ScaleSim's cycle count of a layer, as a formula.

It is exact, not a fit: it equals ``Total Cycles`` of the simulator if the interface bandwidth is met.
"""

from __future__ import annotations

from attrs import frozen

from hnas import DeviceError, Layer


@frozen
class Gemm:
    """A layer as the array sees it: a (p x k) by (k x m) matrix product, done ``times`` times in turn."""

    p: int  # output pixels
    k: int  # kernel height * width * input channels (of one group)
    m: int  # output channels (of one group)
    times: int = 1  # groups


def gemm(layer: Layer) -> Gemm:
    """Lower a layer to its matrix product; a linear layer has one output pixel.

    Raises `DeviceError` for an operation that ScaleSim does not model.
    """
    if layer.op not in ("conv2d", "linear"):
        raise DeviceError(
            f"eyeriss cannot price the operation {layer.op!r} ({layer.key}): ScaleSim models conv2d and linear only",
            hint="other operations are free on this backend; leave them out",
        )
    channels, height, width = layer.out_shape
    window = layer.kernel**2 * layer.in_shape[0] // layer.groups
    return Gemm(height * width, window, channels // layer.groups, layer.groups)


def total_cycles(product: Gemm, *, dataflow: str, rows: int, cols: int) -> int:
    """Return ScaleSim's ``Total Cycles`` on an array of ``rows`` x ``cols`` PEs.

    The two dimensions that the dataflow keeps in place are cut to the array's size. Each such fold fills the array,
    streams the third dimension through and drains it. ScaleSim reports the index of the last cycle, hence the ``- 1``.
    """
    p, k, m = product.p, product.k, product.m
    if dataflow == "ws":
        down, across, fold = k, m, p + 2 * rows + cols - 2
    elif dataflow == "os":
        down, across, fold = p, m, k + rows + cols - 2
    else:
        down, across, fold = k, p, m + 2 * rows + cols - 2
    return product.times * (-(-down // rows) * -(-across // cols) * fold - 1)
