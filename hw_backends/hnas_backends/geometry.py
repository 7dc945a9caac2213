"""Which shapes a layer of each operation can have: backends refuse others by name, before anything is measured."""

from __future__ import annotations

from hnas import DeviceError, Layer


def check_layer(layer: Layer, runtime: str) -> None:
    """Raise `DeviceError` unless the output of a layer follows from its input, kernel, stride and padding."""
    refuse(layer, runtime, wrong_sizes(layer) or _wrong_output(layer))


def refuse(layer: Layer, runtime: str, why: str | None) -> None:
    """Raise `DeviceError` that names the layer if there is a reason against it."""
    if why:
        raise DeviceError(
            f"the {runtime} cannot run {layer.key}: {why}",
            hint="look at the layer's shapes: the space that made it may have left the map smaller than the kernel",
        )


def wrong_sizes(layer: Layer) -> str | None:
    """Return what is wrong with the sizes of a layer by themselves, or ``None``."""
    if (
        min(*layer.in_shape, *layer.out_shape, layer.kernel, layer.stride, layer.groups, layer.dilation) < 1
        or layer.padding < 0
    ):
        return "a size of it is less than 1, or its padding less than 0"
    if layer.op == "conv2d" and (layer.in_shape[0] % layer.groups or layer.out_shape[0] % layer.groups):
        return f"its {layer.groups} groups do not divide its channels"
    if layer.op not in ("conv2d", "max_pool") and layer.dilation != 1:
        return f"only a convolution or a max_pool has a dilation, here {layer.dilation}"
    if layer.op == "linear" and (*layer.in_shape[1:], *layer.out_shape[1:]) != (1, 1, 1, 1):
        return "a linear layer has an input and an output of height and width 1"
    return None


def is_adaptive(layer: Layer) -> bool:
    """Return whether an average pooling is adaptive, or the same as one: windows side by side that fill the map."""
    sizes = tuple(layer.kernel * n for n in layer.out_shape[1:])
    return layer.kernel == 1 or (layer.kernel == layer.stride and not layer.padding and sizes == layer.in_shape[1:])


def _wrong_output(layer: Layer) -> str | None:
    if layer.op == "linear":
        return None
    if layer.op not in ("conv2d", "max_pool", "avg_pool"):
        return None if layer.in_shape == layer.out_shape else "its input and its output differ in shape"
    if layer.op != "conv2d":
        if layer.in_shape[0] != layer.out_shape[0]:
            return "a pooling keeps the channels"
        if layer.op == "avg_pool" and is_adaptive(layer):
            return None
        if 2 * layer.padding > layer.kernel:
            return "its padding is more than half of its window"
    if all(_follows(layer, *sizes) for sizes in zip(layer.in_shape[1:], layer.out_shape[1:], strict=True)):
        return None
    return "its output does not follow from input, kernel, stride and padding"


def _follows(layer: Layer, given: int, out: int) -> bool:
    """Return whether the windows fit. Those of `max_pool` may reach over the edge, but none may begin behind it."""
    window = (layer.kernel - 1) * layer.dilation + 1
    span, up = given + 2 * layer.padding - window, layer.op == "max_pool"
    down = span // layer.stride + 1 if span >= 0 else int(up)
    rounded_up = up and out == down + 1 and (out - 1) * layer.stride < given + layer.padding
    return out >= 1 and (out == down or rounded_up)
