"""How a backend runs an average pooling."""

from __future__ import annotations

from hnas import Layer


def is_adaptive(layer: Layer) -> bool:
    """Return whether an average pooling is adaptive, or the same as one: windows side by side that fill the map."""
    sizes = tuple(layer.kernel * n for n in layer.out_shape[1:])
    return layer.kernel == 1 or (layer.kernel == layer.stride and not layer.padding and sizes == layer.in_shape[1:])
