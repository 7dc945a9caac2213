"""The lines that the C program reads: an ID, then the keys of one layer or of those of a network.

A `Layer.key` says everything there is to run, so it is the program's input as well as the table's row.
"""

from __future__ import annotations

from collections.abc import Sequence

from hnas import DeviceError, Layer
from hnas.errors import close_matches
from hnas.toolkit.activations import ACTIVATIONS
from hnas.toolkit.dataflow import dataflow

OPS = ("conv2d", "linear", "norm", "max_pool", "avg_pool", "add", *ACTIVATIONS)


def spec(layer: Layer) -> str:
    """Return what stands after the ID for a single layer.

    Raises `DeviceError` for an operation that the program does not know.
    """
    if layer.op not in OPS:
        raise DeviceError(
            f"the layer runner cannot run the operation {layer.op!r} ({layer.key}).{close_matches(layer.op, OPS)} "
            f"Known: {', '.join(OPS)}",
            hint="backend.runtime=torch or a backend of your own can measure other operations",
        )
    if layer.op == "avg_pool" and not _is_adaptive(layer):
        raise DeviceError(
            f"the layer runner cannot run {layer.key}: it knows the adaptive average pooling to a size only",
            hint="leave kernel and stride at 1; the shapes say what is pooled",
        )
    return layer.key


def _is_adaptive(layer: Layer) -> bool:
    """Tell whether a pooling is one, or the same as one: windows side by side that fill the map."""
    sizes = tuple(layer.kernel * n for n in layer.out_shape[1:])
    return layer.kernel == 1 or (layer.kernel == layer.stride and not layer.padding and sizes == layer.in_shape[1:])


def network_spec(layers: Sequence[Layer]) -> str:
    """Return what stands after the ID for a whole network, connected as `hnas.toolkit.dataflow` says.

    Raises `DeviceError` where the layers make no network.
    """
    dataflow(layers)
    return " ".join(spec(layer) for layer in layers)
