"""The activations that spaces and backends know: the one place in Python that names them.

A new one needs an `Activation` here, its function and derivatives in ``hnas_plugins/engine/activations.h``, and its
formula in ``hnas_backends/layerbench/activations.h``, after the last one of each list. It has to be monotone if maps
are pooled, since the engine takes the maximum of a patch before it activates. Needs neither torch nor numpy.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

from attrs import frozen


@frozen(kw_only=True)
class Activation:
    """The names of an activation in other libraries, and its formula."""

    function: str  # of torch.nn.functional
    module: str  # of torch.nn
    operator: str  # of ONNX
    attributes: Mapping[str, Any] = MappingProxyType({})  # of that operator
    inputs: tuple[float, ...] = ()  # constants that the operator reads after the map
    free: bool = False  # whether onnxruntime fuses it into a convolution at no cost
    formula: Callable[[Any, Any], Any]  # the exact result, from the module numpy and an array


SELU_SCALE, SELU_ALPHA = 1.0507009873554805, 1.6732632423543772
ACTIVATIONS: Mapping[str, Activation] = MappingProxyType({
    "relu": Activation(
        function="relu", module="ReLU", operator="Relu", free=True, formula=lambda np, x: np.maximum(x, 0.0)
    ),
    "elu": Activation(
        function="elu", module="ELU", operator="Elu",
        formula=lambda np, x: np.where(x > 0, x, np.expm1(np.minimum(x, 0))),
    ),
    "selu": Activation(
        function="selu", module="SELU", operator="Selu",
        formula=lambda np, x: SELU_SCALE * np.where(x > 0, x, SELU_ALPHA * np.expm1(np.minimum(x, 0))),
    ),
    "sigmoid": Activation(
        function="sigmoid", module="Sigmoid", operator="Sigmoid", formula=lambda np, x: 1 / (1 + np.exp(-x))
    ),
    "relu6": Activation(
        function="relu6", module="ReLU6", operator="Clip", inputs=(0.0, 6.0), free=True,
        formula=lambda np, x: np.clip(x, 0.0, 6.0),
    ),
    "leakyrelu": Activation(
        function="leaky_relu", module="LeakyReLU", operator="LeakyRelu", attributes={"alpha": 0.01}, free=True,
        formula=lambda np, x: np.where(x > 0, x, 0.01 * x),
    ),
})  # fmt: skip
"""By the name in a `Layer`, in the order of their codes in the C programs."""
